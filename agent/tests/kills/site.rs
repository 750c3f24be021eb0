//! A Nightscout site, read by an agent that is killed at any moment.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use emulators::nightscout::{Collection, Fault, Site, cgm};
use proto::Value;
use serde_json::json;

use crate::rig::{Rig, end, until};

/// How often the agent is killed.
const KILLS: usize = 20;
/// Readings at the site at first, and how many come with each kill.
const READINGS: usize = 1_500;
const MORE: usize = 20;
const TOKEN: &str = "reader-0123456789abcdef";

/// Glucose that was accepted, by the site's name for it: how often it is there, and its value.
fn accepted(rig: &Rig) -> BTreeMap<String, Vec<(i64, f64)>> {
    let mut accepted: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    for (_, reading) in rig.readings().into_iter().filter(|(name, _)| name == "glucose") {
        let Value::Number(value) = reading.value else { panic!("{:?}", reading.value) };
        accepted.entry(reading.origin.unwrap().id).or_default().push((reading.time.0, value));
    }
    accepted
}

#[test]
fn an_agent_that_is_killed_at_random_while_it_reads_a_site_accepts_each_record_once() {
    let site = Site::start(None).unwrap();
    let mut rig = Rig::new(|folder| {
        let token = folder.join("token");
        certs::key_file::create_private(&token, TOKEN.as_bytes()).unwrap();
        format!(
            "[[source]]\nname = \"site\"\ntype = \"nightscout\"\nurl = \"http://127.0.0.1:{}\"\ntoken_file = {token:?}\n\
             allow_http = true\nallow_private_addresses = true\nevery_s = 10\nhistory_days = 30\n",
            site.port
        )
    });

    // Real readings of five days, moved so that the last of them is now; half of them as older apps write them.
    #[expect(clippy::disallowed_methods, reason = "the agent that is tested goes by this clock")]
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let all = READINGS + KILLS * MORE;
    let data = &cgm()[..all];
    let shift = now - data[all - 1].0;
    let mut expected = BTreeMap::new();
    site.store().token = Some(TOKEN.into());
    let mut write = |numbers: std::ops::Range<usize>| {
        let mut store = site.store();
        store.now_ms = now;
        for (place, (at, mg_dl)) in data[numbers].iter().enumerate() {
            let record = json!({"type": "sgv", "sgv": mg_dl, "direction": "Flat"});
            let id = match place % 2 {
                0 => store.write_v3(Collection::Entries, at + shift, record),
                _ => store.write_v1(Collection::Entries, at + shift, record),
            };
            expected.insert(id, vec![((at + shift) * 1_000, f64::from(*mg_dl))]);
        }
    };
    write(0..READINGS);

    let mut cut = 0;
    for kill in 0..KILLS {
        let agent = rig.start();
        if kill % 5 == 4 {
            site.spoil([Fault::None, Fault::None, Fault::Cut(5_000)]);
        }
        // Before it has asked anything, in the middle, while it is stored, or when all is over.
        std::thread::sleep(Duration::from_millis(20 + rig.random() % 400));
        end(agent);
        let was_asked = !site.asked().is_empty();
        cut += usize::from(was_asked && accepted(&rig).len() < READINGS + kill * MORE);
        write(READINGS + kill * MORE..READINGS + (kill + 1) * MORE);
    }
    site.behave();
    let agent = rig.start();
    until(|| accepted(&rig).len() >= all);
    end(agent);

    println!("{cut} of {KILLS} kills came while the site was being read");
    assert!(cut >= KILLS / 10, "{cut} of {KILLS} kills came while the site was being read");
    let log = rig.log();
    assert_eq!(accepted(&rig), expected, "{log}");
    for hidden in ["127.0.0.1", &site.port.to_string(), TOKEN] {
        assert!(!log.contains(hidden), "{hidden} in {log}");
    }
}
