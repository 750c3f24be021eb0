//! Lists that come to half their life, in invented time, on real authorities.

use std::sync::Barrier;

use super::*;

const DAY_S: i64 = 86_400;
const START_S: i64 = 1_790_000_000;

fn at(second: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second.unsigned_abs())
}

/// An authority whose list was written at [`START_S`] for a week.
fn authority(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("ca");
    certs::Authority::create(&path, "test", 100, at(START_S)).unwrap();
    path
}

fn keeper(own: Option<&Path>, listener: Option<&Path>) -> Keeper {
    Keeper::of(own, listener, Arc::default(), Auditor::none())
}

fn ends(list: &Path) -> i64 {
    inspect::list(&certs::read_crls(list).unwrap()[0]).unwrap().until.unwrap()
}

#[test]
fn a_list_is_written_anew_when_half_its_life_is_over_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let own = authority(&folder);
    let list = own.join("ca.crl");
    let mut keeper = keeper(Some(&own), Some(&list));
    let (now, half) = (Moment::now(), START_S + 7 * DAY_S / 2);
    for second in [START_S, half - 600] {
        keeper.look(second, now);
        assert_eq!(keeper.counts.renewed.get(), 0);
    }
    assert_eq!(keeper.counts.seconds_left(START_S), Some(7 * DAY_S));
    keeper.look(half + 1, now);
    assert_eq!((keeper.counts.renewed.get(), ends(&list)), (1, half + 1 + 7 * DAY_S));
    assert_eq!(keeper.counts.seconds_left(half + 1), Some(7 * DAY_S), "the listener's list is this one");
    assert!(keeper.reminded.is_none());
    (1..10).for_each(|later| keeper.look(half + later * 600, now));
    assert_eq!(keeper.counts.renewed.get(), 1);
    std::fs::remove_file(&list).unwrap();
    keeper.look(half + 6_000, now);
    assert_eq!(keeper.counts.renewed.get(), 2, "one that is gone is written at once");
}

#[test]
fn of_gateways_that_share_a_folder_one_writes_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let own = authority(&folder);
    let due = START_S + 4 * DAY_S;
    let start = Barrier::new(4);
    let renewed: u64 = std::thread::scope(|scope| {
        let look = || {
            let mut keeper = keeper(Some(&own), None);
            start.wait();
            (0..3).for_each(|_| keeper.look(due, Moment::now()));
            assert_eq!(keeper.counts.failures.get(), 0);
            keeper.counts.renewed.get()
        };
        let all: Vec<_> = (0..4).map(|_| scope.spawn(look)).collect();
        all.into_iter().map(|each| each.join().unwrap()).sum()
    });
    assert_eq!(renewed, 1);
    let index = std::fs::read_to_string(own.join("index")).unwrap();
    assert!(index.lines().next().unwrap().contains("\"crl_number\":2"), "{index}");
}

#[test]
fn a_list_that_cannot_be_written_is_tried_again_with_patience_and_written_once_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let own = authority(&folder);
    let (key, away) = (own.join("ca.key"), folder.path().join("ca.key"));
    std::fs::rename(&key, &away).unwrap();
    let mut keeper = keeper(Some(&own), None);
    let (now, due) = (Moment::now(), START_S + 4 * DAY_S);
    (0..20).for_each(|second| keeper.look(due, now + Duration::from_secs(second)));
    assert_eq!((keeper.counts.failures.get(), keeper.counts.renewed.get()), (1, 0));
    keeper.look(due, now + AGAIN_AFTER);
    assert_eq!(keeper.counts.failures.get(), 2);
    std::fs::rename(&away, &key).unwrap();
    keeper.look(due, now + AGAIN_AFTER * 2);
    assert_eq!((keeper.counts.failures.get(), keeper.counts.renewed.get()), (2, 1));
}

#[test]
fn of_a_list_that_nobody_here_can_write_it_is_said_in_time_and_not_all_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let own = authority(&folder);
    let list = own.join("ca.crl");
    let mut keeper = keeper(None, Some(&list));
    let (now, half) = (Moment::now(), START_S + 7 * DAY_S / 2);
    keeper.look(half + 60, now);
    assert!(keeper.reminded.is_none(), "it may be on its way");
    keeper.look(half + ON_ITS_WAY_S + 60, now);
    assert_eq!(keeper.reminded, Some(now));
    keeper.look(half + 3_600, now + Duration::from_secs(3_600));
    assert_eq!(keeper.reminded, Some(now), "not again within hours");
    keeper.look(START_S + 8 * DAY_S, now + REMIND_AFTER);
    assert_eq!(keeper.reminded, Some(now + REMIND_AFTER));
    assert_eq!(keeper.counts.seconds_left(START_S + 8 * DAY_S), Some(-DAY_S));
    assert_eq!(keeper.counts.renewed.get(), 0);
    certs::Authority::open(&own).unwrap().crl(7, at(START_S + 8 * DAY_S)).unwrap();
    keeper.look(START_S + 8 * DAY_S, now + REMIND_AFTER);
    assert!(keeper.reminded.is_none());
}
