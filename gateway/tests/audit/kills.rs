//! A process that appends is killed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant as Moment};

use tributary_gateway::audit;
use tributary_gateway::audit::checkpoint::Checkpoints;
use tributary_gateway::store::audit::Trail as _;
use tributary_gateway::store::sqlite;

use crate::trail::{Bed, Random, entry, now, seed};

/// Tells the process that appends where.
const FOLDER: &str = "TRIBUTARY_APPENDS_IN";
const KILLS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// Appends until it is killed, as a gateway does it and as a command does it, and a checkpoint now and then.
#[test]
#[ignore = "is started by the test that kills it"]
fn appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store = sqlite::Store::open(&folder.join("gateway.db"), now).unwrap();
    let checkpoints = Checkpoints::open(&folder.join("gateway.audit")).unwrap();
    let settings = audit::Settings { checkpoint_every: Duration::from_millis(1), ..audit::Settings::default() };
    let (auditor, _keeper) = audit::start(Box::new(store.writer.trail()), checkpoints, settings, now).unwrap();
    let mut trail = sqlite::Trail::open(&folder.join("gateway.db")).unwrap();
    for number in 0.. {
        let audit::entry::Entry { actor, event, subject, detail, .. } = entry(number);
        auditor.note(event, actor, subject.as_ref(), detail);
        trail.append(&[entry(number), entry(number + 1)]).unwrap();
    }
}

#[test]
fn a_process_killed_while_it_appends_leaves_a_whole_chain() {
    let (bed, mut random) = (Bed::new(), Random(seed()));
    let mut entries = 0;
    for kill in 0..KILLS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "kills::appends_until_it_is_killed", "--ignored", "--nocapture"]);
        let mut child = command.env(FOLDER, bed.folder.path()).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Moment::now() + PATIENCE;
        // From some entries on, at any moment of the next.
        while bed.trail().head().unwrap().sequence < entries + 5 {
            assert!(Moment::now() < deadline && child.try_wait().unwrap().is_none(), "it appends nothing");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let whole = bed.verify().unwrap_or_else(|fault| panic!("after kill {kill}: {fault}"));
        assert!(whole.entries >= entries + 5, "what was committed is there");
        entries = whole.entries;
    }
    assert!(bed.verify().unwrap().checkpoints > 0);
    println!("{entries} entries, {KILLS} kills");
}
