//! Every corpus, and damaged copies of it, on any toolchain: `FUZZ_SEED=N` repeats a run, `FUZZ_RUNS=N` makes it longer.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says its seed")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use fuzz::{Mutator, TARGETS};

/// Damaged inputs of each target in a commit's worth of tests …
const RUNS: u64 = 4_000;
/// … or as many as this allows, where decoding takes long; a stated `FUZZ_RUNS` is done in full.
const TIME_MAX: Duration = Duration::from_millis(800);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The committed inputs of a target.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(corpus.len() >= 2, "{} has too little", folder.display());
    corpus.extend(example(name));
    corpus
}

/// What a person begins with is not copied into the corpus, where it would grow old.
fn example(name: &str) -> Option<Vec<u8>> {
    let program = name.strip_suffix("_config")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Some(std::fs::read(root.join(program).join(format!("{program}.example.toml"))).unwrap())
}

fn feed(name: &str) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).unwrap().1;
    let corpus = corpus(name);
    let seed = number("FUZZ_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let (runs, until) = (number("FUZZ_RUNS").unwrap_or(RUNS), Instant::now() + TIME_MAX);
    let is_stated = number("FUZZ_RUNS").is_some();
    let mut mutator = Mutator::new(seed);
    let damaged = (0..runs).take_while(|_| is_stated || Instant::now() < until).map(|_| mutator.next(&corpus));
    let mut fed = 0_u64;
    for input in corpus.iter().cloned().chain(damaged) {
        let ended = catch_unwind(AssertUnwindSafe(|| target(&input)));
        assert!(
            ended.is_ok(),
            "FUZZ_SEED={seed}: input {fed} of {name} broke it: {:?}",
            input.escape_ascii().to_string()
        );
        fed += 1;
    }
    println!("FUZZ_SEED={seed}: {fed} inputs");
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { feed(stringify!($name)); })*

        #[test]
        fn every_target_has_its_test() {
            let tested = [$(stringify!($name)),*];
            assert!(TARGETS.iter().map(|(name, _)| *name).eq(tested), "{tested:?}");
        }
    };
}
targets!(
    agent_config body clarity codefree contec contour csv cursor dexcom dsmr folder_cursor frame
    freestyle gateway_config guess json key_value libreview lifescan message meter_cursor mhz19
    modbus mqtt mqtt_broker mqtt_message nightscout nightscout_cursor nmea nonin pattern
    plantower_pms sds011 senml sparkplug system taidoc topic ultra2
);
