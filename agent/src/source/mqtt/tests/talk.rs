//! The conversation with the broker.

use super::*;

#[test]
fn it_connects_subscribes_at_qos_1_and_keeps_its_session() {
    let mut bench = Bench::new(&plain("user = \"u\""), None);
    bench.connect(false);
    let all = said(&bench.said);
    // Figures 3.6 and 3.20 of the standard: version 4, a user and no clean session; the filter and QoS 1.
    let connect = [&[0, 4], b"MQTT" as &[u8], &[4, 0x80, 0, 30, 0, 11], b"tributary-s", &[0, 1], b"u"].concat();
    assert_eq!(all[0], (0x10, connect));
    assert_eq!(all[1], (0x82, vec![0, 1, 0, 3, b'a', b'/', b'+', 1]));
    assert_eq!(all.len(), 2);
    let cursor = bench.batches.last().unwrap().1.clone();
    // Another process goes on with the session: to subscribe again would bring what is retained once more.
    let mut again = Bench::new(&plain("user = \"u\""), Some(&cursor));
    again.session.opened(again.now);
    again.settle();
    again.hears(&mqtt::welcome(true, 0));
    assert!(again.session.is_up());
    assert_eq!(said(&again.said).len(), 1);
    // With other filters it subscribes all the same.
    let text = "name = \"s\"\ntype = \"mqtt\"\nhost = \"localhost\"\n[[topics]]\nfilter = \"b\"\n\
                series = [{ pointer = \"\", name = \"b\" }]";
    let mut other = Bench::new(&settings_of(&configured(text)), Some(&cursor));
    other.connect(true);
    assert_eq!(said(&other.said).len(), 2);
}

#[test]
fn a_message_is_acknowledged_when_it_is_stored_and_in_order() {
    let mut bench = Bench::up(&plain(""), None);
    bench.stores = false;
    for id in [7, 8, 9] {
        bench.message(id, "a/x", "{\"t\":1}");
    }
    assert_eq!(bench.acks(), [] as [u16; 0]);
    bench.stores = true;
    bench.settle();
    assert_eq!(bench.acks(), [7, 8, 9]);
    assert_eq!(bench.samples().count(), 3);
    // What gives nothing has nothing to wait for.
    bench.message(10, "a/x", "{\"other\":1}");
    assert_eq!((bench.acks(), bench.samples().count()), (vec![10], 3));
    // At QoS 0 there is nothing to say.
    bench.hears(&Message { id: None, ..Message::new(1, "a/x", b"{\"t\":2}") }.encode());
    assert_eq!((bench.acks(), bench.samples().count()), (vec![], 4));
}

#[test]
fn what_was_stored_and_not_acknowledged_is_not_taken_again() {
    let mut bench = Bench::up(&plain(""), None);
    bench.stores = false;
    bench.message(1, "a/x", "{\"t\":1}");
    bench.message(2, "a/x", "{\"t\":1}");
    let (batch, _) = bench.session.take_batch().unwrap();
    assert_eq!(batch.live.len(), 2, "two messages of one content are two");
    // It is stored, and the connection is gone before that is said.
    bench.stores = true;
    bench.connect(true);
    let again = |id| Message { dup: true, ..Message::new(id, "a/x", b"{\"t\":1}") }.encode();
    bench.hears(&[again(1), again(2)].concat());
    assert_eq!((bench.acks(), bench.samples().count()), (vec![1, 2], 0));
    // Another content under that number is another message; and so is one that is not marked.
    bench.hears(&Message { dup: true, ..Message::new(1, "a/x", b"{\"t\":2}") }.encode());
    bench.hears(&Message::new(2, "a/x", b"{\"t\":1}").encode());
    assert_eq!(bench.samples().count(), 2);
}

#[test]
fn a_session_that_the_broker_has_forgotten_is_told_of_and_what_was_known_means_nothing() {
    let mut bench = Bench::up(&plain(""), None);
    bench.message(1, "a/x", "{\"t\":1}");
    let cursor = bench.batches.last().unwrap().1.clone();
    let mut again = Bench::new(&plain(""), Some(&cursor));
    again.connect(false);
    assert!(again.told()[0].contains("forgotten the session"), "{:?}", again.told());
    again.hears(&Message { dup: true, ..Message::new(1, "a/x", b"{\"t\":1}") }.encode());
    assert_eq!(again.samples().count(), 1);
    // With a clean start there is none to be forgotten; a cursor that cannot be read is as none.
    for (more, cursor) in [("clean_start = true", cursor.as_slice()), ("", b"nonsense")] {
        let mut clean = Bench::new(&plain(more), Some(cursor));
        clean.connect(false);
        assert_eq!(clean.told(), [] as [&str; 0]);
    }
}

#[test]
fn a_flood_is_stored_in_parts_and_nothing_of_it_is_missed() {
    let mut bench = Bench::up(&plain(""), None);
    let message = |id: u16| Message::new(id, "a/x", format!("{{\"t\":{id}}}").as_bytes()).encode();
    let flood: Vec<u8> = (1..=500).flat_map(message).collect();
    let useless: Vec<u8> = (501..=900).flat_map(|id| Message::new(id, "a/x", b"{}").encode()).collect();
    bench.hears(&[flood, useless].concat());
    assert_eq!(bench.acks(), (1..=900).collect::<Vec<u16>>());
    assert_eq!(bench.samples().count(), 500);
    assert!(bench.batches.iter().all(|(batch, _)| batch.live.len() <= 64));
    assert!(bench.batches[0].0.is_urgent(), "the broker waits for it");
}

#[test]
fn a_broker_that_says_nothing_is_asked_and_given_up() {
    let mut bench = Bench::up(&plain("keep_alive_s = 20"), None);
    bench.passes(Duration::from_secs(14)).unwrap();
    assert_eq!(bench.said, [] as [u8; 0]);
    bench.passes(Duration::from_secs(1)).unwrap();
    assert_eq!(bench.said, [0xc0, 0]);
    bench.hears(&mqtt::PONG);
    bench.passes(Duration::from_secs(15)).unwrap();
    assert_eq!(bench.passes(Duration::from_secs(10)), Err("the broker does not answer".into()));
    // Neither to a greeting.
    bench.session.opened(bench.now);
    bench.passes(Duration::from_secs(9)).unwrap();
    assert!(bench.passes(Duration::from_secs(1)).is_err());
}

#[test]
fn a_refusal_says_what_to_do() {
    for (code, what) in [(1, "3.1.1"), (2, "client_id"), (3, "not available"), (4, "password_file"), (5, "rights")] {
        let mut bench = Bench::new(&plain(""), None);
        bench.session.opened(bench.now);
        let problem = bench.tries(&mqtt::welcome(false, code)).unwrap_err();
        assert!(problem.contains(what), "{problem}");
    }
    let mut bench = Bench::new(&plain(""), None);
    bench.session.opened(bench.now);
    bench.hears(&mqtt::welcome(false, 0));
    assert!(bench.tries(&mqtt::subscribed(&[0x80])).unwrap_err().contains("`a/+`"));
}

#[test]
fn what_is_retained_is_left_aside_unless_it_says_its_time_or_is_wanted() {
    let retained = |payload| Message { retain: true, ..Message::new(1, "a/x", payload) }.encode();
    let timed = |more: &str| {
        let mut settings = plain(more);
        settings.topics[0].time = Some(PayloadTime { pointer: "/at".into(), format: None, unit: None });
        settings
    };
    for (settings, taken) in
        [(plain(""), 0), (plain("retained = \"take\""), 1), (timed(""), 1), (timed("retained = \"ignore\""), 0)]
    {
        let mut bench = Bench::up(&settings, None);
        let payload = b"{\"t\":1,\"at\":\"2026-03-01T12:00:00Z\"}";
        bench.hears(&retained(payload));
        assert_eq!((bench.samples().count(), bench.acks()), (taken, vec![1]));
        // The broker sends it again with each new subscription.
        let cursor = bench.batches.last().map(|(_, cursor)| cursor.clone());
        let mut again = Bench::up(&settings, cursor.as_deref());
        again.hears(&retained(payload));
        assert_eq!(again.samples().count(), 0);
    }
}

#[test]
fn hostile_messages_are_rejects_and_acknowledged_and_the_next_one_is_read() {
    let mut bench = Bench::up(&plain("message_bytes_max = 1024"), None);
    let long = vec![b'x'; 1_048_576];
    let deep = format!("{{\"t\":{}", "[".repeat(1_000));
    let hostile: [(&str, &[u8]); 5] =
        [("a/x", &long), ("a/x", deep.as_bytes()), ("a/x", b"{\"t\":118\xff}"), ("a/x", b"118x"), ("b", b"118x")];
    for (place, (topic, payload)) in hostile.iter().enumerate() {
        bench.hears(&Message::new(u16::try_from(place).unwrap() + 1, topic, payload).encode());
    }
    let body = [mqtt::text(b"a/\xff"), vec![0, 6], b"{\"t\":118}".to_vec()].concat();
    bench.hears(&mqtt::packet(0x32, &body));
    bench.message(7, "a/x", "{\"t\":1}");
    assert_eq!(bench.acks(), [1, 2, 3, 4, 5, 6, 7]);
    let lines = bench.told();
    for (line, what) in [(1, "1048576 bytes"), (2, "no JSON"), (3, "UTF-8"), (4, "no JSON"), (5, "topic that is not")] {
        assert!(lines[line].contains(what), "{lines:?}");
    }
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|line| !line.contains("118")), "{lines:?}");
    let kept: Vec<usize> =
        bench.batches.iter().flat_map(|(batch, _)| &batch.rejects).map(|one| one.bytes.len()).collect();
    assert_eq!(kept[0], 256);
}
