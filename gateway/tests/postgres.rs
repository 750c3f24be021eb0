//! The store on PostgreSQL, as far as it is not the same for all stores.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test that fails says so")]

use std::time::{Duration, Instant as Moment};

use proto::{DeviceId, Instant, Value};
use tributary_gateway::store::postgres::{Leases, Password, Settings, Store, Tls, migrate};
use tributary_gateway::store::{Batch, Item, Ledger as _, Outcome, Place, ReadError, View};

#[allow(dead_code, reason = "each test file uses its part")]
#[path = "support/batches.rs"]
mod batches;
#[path = "support/postgres.rs"]
mod postgres;
use batches::{MINUTE, NOW, batch, now};
use postgres::Server;

fn ask<T: Send>(store: &Store, ask: impl FnOnce(View<'_>) -> Result<T, ReadError> + Send) -> T {
    store.reader.view(Moment::now() + Duration::from_secs(10), ask).unwrap()
}

#[test]
fn what_is_recorded_can_be_read_and_is_known_when_it_comes_again() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("first");
    let mut store = Store::open(&settings, now).unwrap();
    let items = [Item::Batch(batch(1, &[(NOW - MINUTE, 104.0), (NOW, 105.5)])), Item::Batch(batch(2, &[(NOW, -0.0)]))];
    assert_eq!(store.writer.record(&items).unwrap(), [Outcome::Recorded; 2]);
    assert_eq!(store.writer.record(&items).unwrap(), [Outcome::Known; 2]);
    let readings = ask(&store, |view| {
        let series = view.series(None)?.remove(0);
        Ok(view.excerpt(series.id, (i64::MIN, i64::MAX), 100)?.readings)
    });
    let told: Vec<_> =
        readings.iter().map(|reading| (reading.time_us, reading.ordinal, reading.value.clone())).collect();
    let number = Value::Number;
    assert_eq!(told, [(NOW - MINUTE, 0, number(104.0)), (NOW, 0, number(105.5)), (NOW, 1, number(-0.0))]);
    drop(store);
    let mut again = Store::open(&settings, || Instant(NOW)).unwrap();
    assert_eq!(again.writer.record(&items).unwrap(), [Outcome::Known; 2]);
    assert_eq!(server.sql("first", "select count(*) from reading"), ["3"]);
}

fn batch_from(device: &str, number: u64, readings: &[(i64, f64)]) -> Item {
    Item::Batch(Batch { device: device.parse().unwrap(), ..batch(number, readings) })
}

fn presence(device: &str, connected: bool) -> Item {
    Item::Presence { device: device.parse().unwrap(), connected }
}

/// Waits until `is_so`, for at most half a minute.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Moment::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Moment::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_commit_that_ends_after_a_later_one_is_not_skipped_by_who_pages_the_feed() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("feed");
    let (mut slow, mut quick) = (Store::open(&settings, now).unwrap(), Store::open(&settings, now).unwrap());
    for (store, device) in [(&mut slow, "slow"), (&mut quick, "quick")] {
        store.writer.record(&[batch_from(device, 1, &[(NOW, 0.0)])]).unwrap();
    }
    let page = |after: Place| {
        let (readings, place) = ask(&quick, |view| view.readings_after(after, 100));
        (readings.into_iter().map(|reading| reading.value).collect::<Vec<_>>(), place)
    };
    let mut place = Place::default();
    until("what was there before", || {
        let (shown, end) = page(place);
        place = end;
        shown.is_empty() && end != Place::default()
    });
    // The slow one has its number and waits for a row that somebody else has locked; the quick one overtakes it.
    let hold = "begin; select 1 from epoch e join device d on d.id = e.device where d.name = 'slow' for update of e";
    let holder = server.session("feed", hold);
    let overtaken =
        std::thread::spawn(move || slow.writer.record(&[batch_from("slow", 2, &[(NOW, 1.0)])]).map(|_| slow));
    until("the slow one to wait", || {
        server.sql("feed", "select 1 from pg_stat_activity where wait_event_type = 'Lock'").len() == 1
    });
    let mut quick_writer = Store::open(&settings, now).unwrap().writer;
    quick_writer.record(&[batch_from("quick", 2, &[(NOW, 2.0)])]).unwrap();
    assert_eq!(server.sql("feed", "select count(*) from reading"), ["3"], "the later one is committed, the other not");
    let (early, after_early) = page(place);
    drop(holder);
    let slow = overtaken.join().unwrap().unwrap();
    let (late, end) = page(after_early);
    let mut all = [early, late].concat();
    all.sort_by(|left, right| format!("{left:?}").cmp(&format!("{right:?}")));
    assert_eq!(all, [Value::Number(1.0), Value::Number(2.0)], "both, each once");
    assert!(page(end).0.is_empty());
    // One by one it is the same.
    let (mut one_by_one, mut place) = (0, Place::default());
    loop {
        let (shown, next) = ask(&slow, |view| view.readings_after(place, 1));
        if next == place {
            break;
        }
        (one_by_one, place) = (one_by_one + shown.len(), next);
    }
    assert_eq!((one_by_one, place), (4, end));
    until("the tick", || slow.writer.subscribe().borrow().end == end);
}

#[test]
fn gateways_hear_of_each_other_and_undo_only_what_their_own_or_the_dead_said() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("presence");
    let (mut one, mut other) = (Store::open(&settings, now).unwrap(), Store::open(&settings, now).unwrap());
    let is_connected = |store: &Store| ask(store, |view| view.device("meter-7")).unwrap().connected;
    let feed = other.writer.subscribe();
    until("the feed to be followed", || {
        server
            .sql(
                "presence",
                "select 1 from pg_stat_activity where query = 'listen tributary_commit'
                                or (application_name = 'tributary feed' and state = 'idle')",
            )
            .len()
            == 2
    });
    let before = feed.borrow().commits;
    one.writer.record(&[presence("meter-7", true)]).unwrap();
    until("the other to hear that a device came", || feed.borrow().commits > before);
    assert!(is_connected(&other));
    // It moves to the other gateway; then the first notices that its connection is gone.
    other.writer.record(&[presence("meter-7", true)]).unwrap();
    one.writer.record(&[presence("meter-7", false)]).unwrap();
    assert!(is_connected(&one));
    // A third one starts, and what living ones said stays.
    let third = Store::open(&settings, now).unwrap();
    assert!(is_connected(&third));
    // The one that has the connection stops in good order, and the next one to start knows: not always where the server
    // takes longer for a farewell than a gateway waits for it.
    drop(other);
    let mut fourth = Store::open(&settings, now).unwrap();
    for _ in 0..5 {
        if !is_connected(&fourth) {
            break;
        }
        fourth.writer.record(&[presence("meter-7", true)]).unwrap();
        drop(fourth);
        fourth = Store::open(&settings, now).unwrap();
    }
    assert!(!is_connected(&fourth), "five farewells, and none was heard");
    // Another dies without a word.
    one.writer.record(&[presence("meter-7", true)]).unwrap();
    std::mem::forget(one);
    server.sql(
        "presence",
        "create function still() returns trigger language plpgsql as 'begin return null; end';
        create trigger still before insert or update on instance for each row execute function still();
        set session_replication_role = replica;
        update instance set seen = clock_timestamp() - interval '1 minute'",
    );
    until("the living to notice", || !is_connected(&fourth));
}

#[test]
fn one_device_through_two_gateways_is_stored_once_and_ranked_by_both() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("both");
    let mut stores = [Store::open(&settings, now).unwrap(), Store::open(&settings, now).unwrap()];
    for number in 1..=20 {
        let store = &mut stores[usize::from(number % 2 == 0)];
        store.writer.record(&[batch_from("meter-7", number, &[(NOW, 1.0)])]).unwrap();
    }
    let at_once = stores.map(|mut store| {
        std::thread::spawn(move || {
            let items: Vec<Item> = (1..=40).map(|number| batch_from("meter-7", number, &[(NOW, 1.0)])).collect();
            let mut outcomes = Vec::new();
            for some in items.chunks(3) {
                outcomes.extend(store.writer.record(some).unwrap());
            }
            outcomes.into_iter().filter(|outcome| *outcome == Outcome::Recorded).count()
        })
    });
    let recorded: usize = at_once.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(recorded, 20);
    let ranks = server.sql("both", "select string_agg(ordinal::text, ' ' order by ordinal) from reading");
    assert_eq!(ranks, [(0..40).map(|rank| rank.to_string()).collect::<Vec<_>>().join(" ")]);
    assert_eq!(server.sql("both", "select readings from device"), ["40"]);
    assert_eq!(server.sql("both", "select first || '-' || last from settled"), ["1-40"]);
}

#[test]
fn a_connection_that_is_cut_is_replaced_and_what_was_tried_is_known_or_stored() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("cut");
    let mut store = Store::open(&settings, now).unwrap();
    store.writer.record(&[batch_from("meter-7", 1, &[(NOW, 1.0)])]).unwrap();
    for number in 2..6 {
        let ended = server.sql(
            "cut",
            "select pg_terminate_backend(pid) from pg_stat_activity
                                       where application_name like 'tributary %'",
        );
        assert!(ended.len() >= 2, "{ended:?}");
        let items = [batch_from("meter-7", number - 1, &[(NOW, 1.0)]), batch_from("meter-7", number, &[(NOW, 1.0)])];
        let error = store.writer.record(&items).unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert_eq!(store.writer.record(&items).unwrap(), [Outcome::Known, Outcome::Recorded]);
        assert_eq!(ask(&store, |view| view.readings_total()), i64::try_from(number).unwrap());
    }
}

#[test]
fn a_gateway_that_stands_still_in_the_middle_of_a_copy_loses_its_locks() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("still");
    let mut store = Store::open(&settings, now).unwrap();
    store.writer.record(&[batch_from("meter-7", 1, &[(NOW, 1.0)])]).unwrap();
    let _still =
        server.copying("still", "select id from device where name = 'meter-7' for update", "copy reading from stdin");
    let (items, began, mut tries) = ([batch_from("meter-7", 2, &[(NOW, 1.0)])], Moment::now(), 0);
    while let Err(error) = store.writer.record(&items) {
        assert!(error.is_unavailable(), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{error}");
        tries += 1;
    }
    println!("held up for {:?}, {tries} times in vain", began.elapsed());
    assert!(tries > 0, "it was locked");
    assert!(began.elapsed() < Duration::from_secs(15));
}

/// Once of several times: on a busy machine one beat may be late, and the next one is then early.
#[test]
fn a_gateway_says_every_three_seconds_that_it_lives_whatever_else_it_does_meanwhile() {
    let Some(server) = Server::start(&[]) else { return };
    let _store = Store::open(&server.database("beat"), now).unwrap();
    let seen = || server.sql("beat", "select extract(epoch from seen) from instance")[0].parse::<f64>().unwrap();
    let (mut last, mut apart) = (seen(), Vec::new());
    until("a beat in time", || {
        let at = seen();
        if at > last {
            apart.push(at - last);
            last = at;
        }
        // The store says it as it is opened, and its thread again as soon as it is connected.
        apart.iter().any(|apart| (2.5..3.1).contains(apart))
    });
    println!("seconds between its beats: {apart:?}");
}

#[test]
fn a_lease_has_one_holder_until_it_ends_or_is_given_back() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("lease");
    let (mut one, mut other) = (Leases::new(&settings), Leases::new(&settings));
    let long = Duration::from_secs(60);
    assert!(one.hold("rollup", long).unwrap() && one.hold("rollup", long).unwrap());
    assert!(!other.hold("rollup", long).unwrap());
    assert!(other.hold("retention", long).unwrap(), "another lease");
    one.release("rollup").unwrap();
    assert!(other.hold("rollup", Duration::from_millis(1)).unwrap());
    until("a short lease to end", || one.hold("rollup", long).unwrap());
}

#[test]
fn a_server_that_cannot_be_used_is_refused_with_what_to_do() {
    let Some(server) = Server::start(&[]) else { return };
    let refused = |settings: &Settings| Store::open(settings, now).err().unwrap().to_string();
    let good = server.database("good");
    let on = |database: &str| Settings { database: database.into(), ..good.clone() };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let told = refused(&Settings { port: nobody, ..good.clone() });
    assert!(told.contains("refused") && told.contains("`host`"), "{told}");
    let told = refused(&Settings { host: "no-such-host.invalid".into(), ..good.clone() });
    assert!(told.contains("no-such-host.invalid") && told.contains("`host`"), "{told}");
    let told = refused(&on("nowhere"));
    assert!(told.contains("\"nowhere\" does not exist") && told.contains("create it"), "{told}");
    let told = refused(&Settings { user: "stranger".into(), password: Some(Password::new("s3cret")), ..good.clone() });
    assert!(told.contains("stranger") && !told.contains("s3cret"), "{told}");
    server.bare_database("bare");
    assert!(refused(&on("bare")).contains("run `tributary-gateway migrate`"), "{}", refused(&on("bare")));
    server.sql("good", "alter database good set default_transaction_read_only = on");
    assert!(refused(&good).contains("read-only"), "{}", refused(&good));
    server.sql("postgres", "alter database good set default_transaction_read_only = off");
    server.sql("postgres", "alter database good set synchronous_commit = off");
    assert!(refused(&good).contains("synchronous_commit = off"), "{}", refused(&good));
    server.sql("postgres", "alter database good set synchronous_commit = local");
    Store::open(&good, now).unwrap();
    let tls = Tls::VerifyFull { ca_file: concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into() };
    let told = refused(&Settings { tls, ..good.clone() });
    assert!(told.contains("no certificate"), "{told}");
    server.sql("good", "insert into migration (version) values (99)");
    let told = refused(&good);
    assert!(told.contains("schema 99") && told.contains("newer gateway"), "{told}");
    assert!(migrate(&good).unwrap_err().to_string().contains("schema 99"));
    server.sql("good", "delete from migration where version > 0");
    assert!(refused(&good).contains("`tributary-gateway migrate`"));
    drop(server);

    let Some(unsafe_server) = Server::start(&["fsync=off"]) else { return };
    let told = refused(&unsafe_server.database("good"));
    assert!(told.contains("fsync = off") && told.contains("turn it on"), "{told}");
}

#[test]
fn a_wrong_password_is_refused_and_never_shown() {
    let Some(server) = Server::start_with_passwords() else { return };
    let settings = Settings { password: Some(Password::new("not the one")), ..server.bare_database("any") };
    let told = Store::open(&settings, now).err().unwrap().to_string();
    assert!(told.contains("password authentication failed") && told.contains("`password_file`"), "{told}");
    assert!(!told.contains("not the one") && !format!("{settings:?}").contains("not the one"));
}

#[test]
fn each_role_may_do_its_work_and_nothing_more() {
    let Some(server) = Server::start(&[]) else { return };
    let bare = server.bare_database("roles");
    for _ in 0..2 {
        server.sql("roles", include_str!("../src/store/postgres/roles.sql"));
    }
    let of = |user: &str| Settings { user: user.into(), ..bare.clone() };
    let told = migrate(&of("tributary_ingest")).unwrap_err().to_string();
    assert!(told.contains("tributary_ingest may not make tables"), "{told}");
    assert_eq!(migrate(&of("tributary_migrate")).unwrap().0, 0);
    // Run once more, it finds the tables there.
    server.sql("roles", include_str!("../src/store/postgres/roles.sql"));
    let mut store = Store::open(&of("tributary_ingest"), now).unwrap();
    store.writer.record(&[batch_from("meter-7", 1, &[(NOW, 1.0), (0, 2.0), (i64::MAX, 3.0)])]).unwrap();
    assert!(Leases::new(&of("tributary_ingest")).hold("any", Duration::from_secs(1)).unwrap());
    assert_eq!(server.try_sql_as("tributary_query", "roles", "select count(*) from reading").unwrap(), ["3"]);
    for (user, sql) in [
        ("tributary_ingest", "create table mine (id int)"),
        ("tributary_ingest", "drop table reading"),
        ("tributary_ingest", "drop table reading_2026_03"),
        ("tributary_ingest", "alter table reading add column mine int"),
        ("tributary_ingest", "truncate reading"),
        ("tributary_ingest", "insert into migration (version) values (7)"),
        ("tributary_query", "insert into tenant (id, name) values (2, 'other')"),
        ("tributary_query", "set default_transaction_read_only = off; delete from reading"),
        ("tributary_query", "set default_transaction_read_only = off; create table mine (id int)"),
        ("tributary_query", "set default_transaction_read_only = off; select ensure_reading_room('{1}', '{}')"),
    ] {
        let told = server.try_sql_as(user, "roles", sql).unwrap_err();
        assert!(
            told.contains("permission denied") || told.contains("must be owner") || told.contains("read-only"),
            "{user} {sql}: {told}"
        );
    }
    let stranger = server
        .try_sql("roles", "create role stranger login")
        .and_then(|_| server.try_sql_as("stranger", "roles", "select 1"));
    assert!(stranger.unwrap_err().contains("permission denied for database"));
    let device: DeviceId = "meter-7".parse().unwrap();
    assert_eq!(store.writer.settled(&device, batches::EPOCH).unwrap().0.len(), 1);
}

#[test]
fn a_feed_that_was_restored_from_a_dump_goes_on_where_it_was() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("restored");
    let mut store = Store::open(&settings, now).unwrap();
    for number in 1..=3 {
        store.writer.record(&[batch_from("meter-7", number, &[(NOW, 1.0)])]).unwrap();
    }
    drop(store);
    // Where it came from, many more transactions had been.
    let many = "update commit_feed set xid = (xid::text::bigint + 1000000)::text::xid8";
    server.sql("restored", many);
    let second = "from commit_feed order by id offset 1 limit 1";
    let of_second = |column| server.sql("restored", &format!("select {column} {second}"))[0].parse().unwrap();
    let after_two = Place::of(of_second("xid::text"), of_second("last_reading"));
    let there = Store::open(&settings, now).unwrap();
    let pages = |after| ask(&there, |view| view.readings_after(after, 10)).0.len();
    assert_eq!(pages(after_two), 1, "the third is still to be shown");
    let mut writer = Store::open(&settings, now).unwrap().writer;
    writer.record(&[batch_from("meter-7", 4, &[(NOW, 1.0)])]).unwrap();
    until("what is new as well", || pages(after_two) == 2);
    assert_eq!(pages(Place::default()), 4);
}
