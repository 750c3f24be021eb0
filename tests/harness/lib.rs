//! What whole journeys need: real binaries with their own folder, certificates and ports, and a judge that shares no
//! code with them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub mod agent;
pub mod broker;
pub mod cloud;
pub mod database;
pub mod device;
pub mod emulated;
pub mod fleet;
pub mod gateway;
pub mod hours;
pub mod https;
pub mod issuing;
pub mod judge;
pub mod load;
pub mod machine;
pub mod manager;
pub mod mix;
pub mod mqtt;
pub mod offered;
pub mod oracle;
pub mod outpost;
pub mod pki;
pub mod process;
pub mod proxy;
pub mod pty;
pub mod servers;
pub mod small_disk;
pub mod speaker;
pub mod stage;
pub mod trial;
pub mod twenty;
pub mod world;
pub mod wrong_clock;

pub use agent::Agent;
pub use cloud::Cloud;
pub use database::Database;
pub use device::Device;
pub use fleet::Fleet;
pub use gateway::Gateway;
pub use hours::Hours;
pub use load::Load;
pub use outpost::Outpost;
pub use pki::Pki;
pub use proxy::Proxy;
pub use world::World;

/// The folder of one of the project's programs: beside the running one.
///
/// # Panics
/// When it was not built; says how to build it.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not built; run `cargo build --workspace --bins` first"))
}

/// One of the project's programs as it is shipped to devices; `make test` builds it.
///
/// # Panics
/// When it was not built; says how to build it.
#[must_use]
pub fn shipped(name: &str) -> PathBuf {
    let beside = binary(name);
    let target = beside.parent().and_then(Path::parent).expect("programs lie in a profile's folder");
    let path = target.join("dist").join(name);
    assert!(path.exists(), "{name} is not built; run `cargo build --profile dist -p {name}` first");
    path
}

/// The project's own copy of test data, unpacked.
///
/// # Panics
/// When the file is not there or not what it should be.
#[must_use]
pub fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    std::io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits until `condition` gives a value, at most `deadline`.
///
/// # Panics
/// When it does not; `what` says what was waited for.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} for {what}, in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}
