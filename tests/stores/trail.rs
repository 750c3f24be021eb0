//! The audit trail.

use std::path::Path;

use gateway::audit::chain::Head;
use gateway::audit::checkpoint::Checkpoints;
use gateway::audit::entry::{Actor, Detail, Entry, Event};
use gateway::audit::trim::Keep;
use gateway::audit::verify::{Fault, VerifyError, Whole, verify};
use gateway::store::audit::{Ask, Found, Trail};
use gateway::store::postgres::{Password, Settings, migrate};
use harness::servers::postgres::roles::{INGEST, MIGRATE, QUERY};
use harness::servers::{Edition, Postgres, or_skip};
use proto::Instant;

use crate::backend::Backend;
use crate::batches::{NOW, batch, meter, now};

fn entry(number: i64) -> Entry {
    let detail = Detail::none().number("number", number);
    Entry { time: Instant(NOW), actor: Actor::Operator, event: Event::Issued, subject: Some(meter()), detail }
}

/// What an operator is told, with the checkpoints of `file`.
fn told(trail: &mut dyn Trail, file: Option<&Path>) -> Result<Whole, Fault> {
    let files: Vec<_> = file.into_iter().map(Path::to_owned).collect();
    match verify(trail, &files) {
        Ok(whole) => Ok(whole),
        Err(VerifyError::Fault(fault)) => Err(fault),
        Err(other) => panic!("{other}: {:?}", std::error::Error::source(&other)),
    }
}

fn details(trail: &mut dyn Trail, subject: Option<&str>) -> Vec<String> {
    let subject = subject.map(|device| device.parse().unwrap());
    let found = trail.page(&Ask { after: Some(0), subject, entries_max: 10_000 }).unwrap();
    let detail = |found| match found {
        Found::Link(link) => link.detail,
        other => panic!("{other:?}"),
    };
    found.into_iter().map(detail).collect()
}

pub(crate) fn entries_are_kept_to_the_byte_and_hang_together_whatever_clocks_say(backend: &impl Backend) {
    let mut bed = backend.fresh();
    assert_eq!(bed.trail().head().unwrap(), Head::default());
    assert_eq!(told(bed.trail(), None).unwrap().entries, 0);
    let texts = ["", "a\u{0}b", "\u{1f600}", "\"\\\n\u{7f}\u{9b}", &"x".repeat(70_000), "'; drop table audit; --"];
    // From one end of time to the other, and back.
    let times = [NOW, i64::MAX, i64::MIN, 0, -1, NOW - 1];
    let other: proto::DeviceId = "meter-8".parse().unwrap();
    let entries: Vec<Entry> = texts
        .iter()
        .zip(times)
        .map(|(text, time)| Entry {
            time: Instant(time),
            actor: Actor::Device(other.clone()),
            detail: Detail::none().text("topic", text),
            ..entry(0)
        })
        .collect();
    assert_eq!(bed.trail().append(&entries[..1]).unwrap().sequence, 1);
    let nobody = Entry { subject: None, ..entry(7) };
    bed.trail().append(&[&entries[1..], &[nobody]].concat()).unwrap();
    assert_eq!(bed.trail().append(&[]).unwrap().sequence, 7, "nothing is nothing");
    bed.reopen();
    let whole = told(bed.trail(), None).unwrap();
    assert_eq!((whole.entries, whole.span_us), (7, Some((NOW, NOW))));
    assert_eq!(bed.trail().head().unwrap(), whole.head);
    let wanted: Vec<String> = entries.iter().map(|entry| entry.detail.to_json()).collect();
    assert_eq!(details(bed.trail(), Some("meter-7")), wanted);
    assert_eq!(details(bed.trail(), Some("meter-8")), Vec::<String>::new());
    assert_eq!(details(bed.trail(), None).len(), 7);
    // Readings go on beside it.
    bed.record([gateway::store::Item::Batch(batch(1, &[(NOW, 100.0)]))]);
    assert_eq!(bed.numbers(), [(NOW, 100.0)]);
}

pub(crate) fn those_who_append_at_once_make_one_chain_without_a_hole_or_a_fork(backend: &impl Backend) {
    const EACH: i64 = 60;
    let mut bed = backend.fresh();
    // The gateway, and two commands; on a server that is the same as three gateways.
    let beside = bed.trail_beside();
    let own = std::mem::replace(&mut bed.store_mut().trail, beside);
    let trails = [own, bed.trail_beside(), bed.trail_beside()];
    let heads: Vec<Head> = std::thread::scope(|scope| {
        let append = |mut trail: Box<dyn Trail>, who: i64| {
            let each = move |turn| trail.append(&[entry(who * 1_000 + turn * 2), entry(who * 1_000 + turn * 2 + 1)]);
            scope.spawn(move || (0..EACH).map(each).collect::<Result<Vec<Head>, _>>().unwrap())
        };
        let threads: Vec<_> = trails.into_iter().zip(0..).map(|(trail, who)| append(trail, who)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut ends: Vec<i64> = heads.iter().map(|head| head.sequence).collect();
    ends.sort_unstable();
    assert_eq!(ends, (1..=3 * EACH).map(|turn| turn * 2).collect::<Vec<_>>(), "each had its own place");
    let whole = told(bed.trail(), None).unwrap();
    assert_eq!(whole.entries, 6 * EACH);
    let all = details(bed.trail(), None);
    for who in 0..3 {
        let wanted: Vec<String> = (0..2 * EACH).map(|n| format!("{{\"number\":{}}}", who * 1_000 + n)).collect();
        let found: Vec<&String> = all.iter().filter(|detail| wanted.contains(detail)).collect();
        assert_eq!(found, wanted.iter().collect::<Vec<_>>(), "once each, in the order of who appended them");
    }
}

pub(crate) fn what_was_changed_removed_or_cut_off_is_named(backend: &impl Backend) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.audit");
    let mut bed = backend.fresh();
    let mut checkpoints = Checkpoints::open(&file).unwrap();
    for number in 1..=9 {
        let head = bed.trail().append(&[entry(number)]).unwrap();
        if number % 4 == 0 {
            checkpoints.add(head, now()).unwrap();
        }
    }
    assert_eq!(told(bed.trail(), Some(&file)).unwrap().checkpoints, 2);
    let beside = bed.beside();
    beside.unguard_audit();
    beside.run("create table original as select * from audit");
    let zeros = beside.bytes(&"00".repeat(32));
    let cases = [
        ("update audit set detail = '{\"number\":77}' where sequence = 3".to_owned(), "entry 3 was edited"),
        ("update audit set time_us = time_us - 1 where sequence = 9".to_owned(), "entry 9 was edited"),
        (format!("update audit set previous = {zeros} where sequence = 5"), "entry 5 does not follow entry 4"),
        ("update audit set tenant = 2 where sequence = 1".to_owned(), "entry 1 was edited"),
        ("delete from audit where sequence = 2".to_owned(), "entry 2 was removed"),
        (
            "update audit set sequence = -1 where sequence = 6; update audit set sequence = 6 where sequence = 7;
             update audit set sequence = 7 where sequence = -1"
                .to_owned(),
            "entry 6 does not follow entry 5",
        ),
        ("delete from audit where sequence > 7".to_owned(), "entry 8 was cut off"),
        ("delete from audit".to_owned(), "entry 1 was cut off"),
    ];
    for (sql, words) in cases {
        beside.run(&sql);
        let fault = told(bed.trail(), Some(&file)).expect_err(&sql).to_string();
        assert!(fault.starts_with(words), "{sql}: {fault}");
        beside.run("delete from audit; insert into audit select * from original");
    }
    assert_eq!(told(bed.trail(), Some(&file)).unwrap().entries, 9);
}

pub(crate) fn an_older_copy_of_the_database_is_noticed_by_its_checkpoints(backend: &impl Backend) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.audit");
    let mut bed = backend.fresh();
    bed.trail().append(&[entry(1)]).unwrap();
    bed.back_up();
    let head = bed.trail().append(&[entry(2)]).unwrap();
    Checkpoints::open(&file).unwrap().add(head, now()).unwrap();
    bed.restore();
    let fault = told(bed.trail(), Some(&file)).unwrap_err().to_string();
    assert!(fault.starts_with("entry 2 was cut off") && fault.contains("older copy"), "{fault}");
    // Entries go on behind what is there; the checkpoint says that they are others.
    bed.trail().append(&[entry(3)]).unwrap();
    let fault = told(bed.trail(), Some(&file)).unwrap_err().to_string();
    assert!(fault.starts_with("entry 2 was made anew"), "{fault}");
    assert_eq!(told(bed.trail(), None).unwrap().entries, 2);
}

pub(crate) fn the_oldest_entries_go_by_the_rule_and_nothing_else_does_and_the_rest_is_proven_still(
    backend: &impl Backend,
) {
    const DAY_US: i64 = 86_400_000_000;
    let folder = tempfile::tempdir().unwrap();
    let (file, other) = (folder.path().join("gateway.audit"), folder.path().join("other.audit"));
    let (mut bed, keep) = (backend.fresh(), Keep { days: 60, entries_max: 10_000 });
    let old = |number: i64| {
        // What another table takes and jsonb does not is in the way of nobody.
        let detail = Detail::none().text("topic", "a\u{0}b");
        Entry { time: Instant(NOW - (100 - number) * DAY_US), detail, ..entry(number) }
    };
    bed.trail().append(&(1..=100).map(old).collect::<Vec<_>>()).unwrap();
    let beside = bed.beside();
    let refused = |sql: &str| assert!(beside.refused(sql).contains("the audit trail is not"), "{sql}");
    refused("delete from audit where sequence = 1");
    let cut = bed.trail().cut(keep, now()).unwrap().unwrap();
    assert_eq!((cut.last.sequence, cut.entries), (39, 39));
    Checkpoints::open(&file).unwrap().add(cut.last, now()).unwrap();
    // The last to be there before is seen elsewhere too, and an early one, which has gone since.
    let mut others = Checkpoints::open(&other).unwrap();
    others.add(bed.trail().head().unwrap(), now()).unwrap();
    let head = bed.trail().trim(&cut, now()).unwrap();
    assert_eq!((head.sequence, bed.trail().trim(&cut, now()).unwrap()), (101, head), "it is done once");
    assert_eq!(bed.trail().cut(keep, now()).unwrap(), None);
    bed.reopen();
    let whole = told(bed.trail(), Some(&file)).unwrap();
    assert_eq!((whole.entries, whole.trimmed, whole.checkpoints, whole.head), (62, 39, 1, head));
    assert_eq!(details(bed.trail(), None).len(), 62);
    let unseen = told(bed.trail(), Some(&other)).unwrap_err().to_string();
    assert!(unseen.starts_with("entries up to 39 are not there") && unseen.contains("no checkpoint"), "{unseen}");
    for sql in [
        "delete from audit where sequence = 40",
        "delete from audit where sequence = 101",
        "delete from audit",
        "update audit set subject = 'x' where sequence = 50",
    ] {
        refused(sql);
    }
    // Entries go on, and whoever removes one more all the same is found.
    bed.trail().append(&[entry(7)]).unwrap();
    assert_eq!(told(bed.trail(), Some(&file)).unwrap().entries, 63);
    beside.unguard_audit();
    beside.run("delete from audit where sequence = 40");
    let fault = told(bed.trail(), Some(&file)).unwrap_err().to_string();
    assert!(fault.starts_with("entry 1 was removed: entry 41 follows 0"), "{fault}");
    beside.run("delete from audit where sequence = 101");
    let fault = told(bed.trail(), Some(&file)).unwrap_err().to_string();
    assert!(fault.starts_with("entry 101 was removed"), "{fault}");
}

#[test]
fn the_role_that_runs_the_gateway_may_add_to_the_trail_and_read_it_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = or_skip(Postgres::start(&folder.path().join("postgres"), Edition::Plain15)) else { return };
    server.database("rights").unwrap();
    server.make_roles("rights").unwrap();
    let by = |role| {
        let password = Some(Password::new(server.password_of(role)));
        Settings { password, ..Settings::local(server.port, "rights", role) }
    };
    migrate(&by(MIGRATE)).unwrap();
    let mut trail = gateway::store::postgres::Trail::new(by(INGEST));
    // As `migrate` left it, and as roles.sql leaves it when somebody had given too much.
    for _ in 0..2 {
        trail.append(&[entry(1)]).unwrap();
        let ingest = server.sql_as(INGEST, "rights").unwrap();
        for denied in ["update audit set detail = ''", "delete from audit", "truncate audit"] {
            let error = format!("{:#}", ingest.run(denied).unwrap_err());
            assert!(error.contains("permission denied for table audit"), "{denied}: {error}");
        }
        // By the way that is there for the oldest, nothing goes that no entry tells of.
        let error = format!("{:#}", ingest.number("select audit_trim(1)").unwrap_err());
        assert!(error.contains("the audit trail is not changed"), "{error}");
        assert!(server.sql_as(QUERY, "rights").unwrap().number("select audit_trim(1)").is_err());
        let query = server.sql_as(QUERY, "rights").unwrap();
        assert!(query.number("select count(*) from audit").unwrap() > 0);
        assert!(query.run("insert into audit select * from audit").is_err());
        // Nor does the owner by mistake.
        let owner = server.sql_as(MIGRATE, "rights").unwrap();
        for mistaken in ["update audit set detail = ''", "delete from audit", "truncate audit"] {
            let error = format!("{:#}", owner.run(mistaken).unwrap_err());
            assert!(error.contains("the audit trail is not changed"), "{mistaken}: {error}");
        }
        owner.run("grant update, delete, truncate on audit to tributary_ingest").unwrap();
        server.make_roles("rights").unwrap();
    }
    // Without the right to add, a gateway does not start, and says what it lacks.
    server.sql_as(MIGRATE, "rights").unwrap().run("revoke insert on audit from tributary_ingest").unwrap();
    let refused = gateway::store::postgres::Store::open(&by(INGEST), now).err().unwrap().to_string();
    assert!(refused.contains("lacks insert on table audit"), "{refused}");
    assert_eq!(told(&mut trail, None).unwrap().entries, 2);
}
