//! A site that misbehaves.

use std::time::Instant as Moment;

use super::*;

/// A world with some of everything, read by both ways.
fn full(more: &str) -> World {
    let world = World::with_token(more);
    for step in 0..15 {
        let at = NOW_MS - step * 5 * MINUTE_MS;
        world.site.store().write_v3(Kind::Entries, at, sgv(100));
        world.site.store().write_v1(Kind::Entries, at + MINUTE_MS, sgv(101));
        world.site.store().write_v1(Kind::Treatments, at, note("x"));
    }
    world
}

const ALL: usize = 15 * 5;

#[tokio::test]
async fn after_every_fault_at_every_question_each_record_is_there_once() {
    let faults = [
        Fault::Status(401, None),
        Fault::Status(403, None),
        Fault::Status(404, None),
        Fault::Status(406, None),
        Fault::Status(410, None),
        Fault::Status(429, Some(("Retry-After", "7".into()))),
        Fault::Status(500, None),
        Fault::Status(503, Some(("Retry-After", "Sun, 01 Mar 2026 12:01:00 GMT".into()))),
        Fault::Status(304, None),
        Fault::Status(302, Some(("Location", "https://elsewhere.example/api/v1/entries.json".into()))),
        Fault::Cut(0),
        Fault::Cut(30),
        Fault::Cut(300),
        Fault::Body("<html>It is down</html>"),
        Fault::Body("{\"status\":200}"),
        Fault::Body("[{\"type\":\"sgv\""),
        Fault::Body("[1,null,\"x\",{}]"),
        Fault::Body("[]"),
        Fault::Body("{\"status\":200,\"result\":[]}"),
        Fault::Packed("br"),
        Fault::Long(300_000),
        Fault::Bomb(3_000_000),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        // The pass, the version, and both ways of reading; a few of them each, so that it does not take for ever.
        for place in (0..12).filter(|place| (place + number) % 4 == 0) {
            let mut world = full("answer_bytes_max = 262144");
            world.site.spoil((0..place).map(|_| Fault::None).chain([fault.clone()]));
            let looked = world.try_look().await;
            if let Err(problem) = looked {
                let text = problem.to_string();
                for hidden in
                    ["127.0.0.1", "elsewhere", &world.site.port.to_string(), TOKEN, "0123456789abcdef", "pass."]
                {
                    assert!(!text.contains(hidden), "{fault:?}: {text}");
                }
            }
            world.site.behave();
            // An answer without what was asked for is told from an empty one at the next look.
            for _ in 0..2 {
                let looked = world.try_look().await;
                assert_eq!(looked, Ok(()), "{fault:?} at {place}");
            }
            world.restart();
            assert_eq!(world.look().await, 0, "{fault:?} at {place}");
            assert_eq!(world.taken.len(), ALL, "{fault:?} at {place}");
            world.assert_once();
        }
    }
}

#[tokio::test]
async fn each_fault_has_its_own_words_and_a_site_is_left_alone_as_long_as_it_asks() {
    let cases = [
        (Fault::Status(429, Some(("Retry-After", "7".into()))), "status 429", Some(7)),
        (Fault::Status(503, Some(("Retry-After", "Sun, 01 Mar 2026 12:01:00 GMT".into()))), "status 503", Some(60)),
        (Fault::Status(500, None), "status 500", None),
        (Fault::Status(301, Some(("Location", "https://b.example/".into()))), "another address", None),
        (Fault::Body("<html>"), "line 1 column 1", None),
        (Fault::Cut(50), "the connection broke", None),
        (Fault::Packed("br"), "cannot be unpacked", None),
    ];
    for (fault, says, wait_s) in cases {
        let mut world = World::open("collections = [\"entries\"]");
        world.site.spoil([fault]);
        let problem = world.try_look().await.unwrap_err();
        assert!(problem.to_string().contains(says), "{problem}");
        assert_eq!(problem.retry_after(), wait_s.map(Duration::from_secs), "{problem}");
    }
}

#[tokio::test]
async fn a_site_that_never_answers_or_only_drips_is_given_up_in_time() {
    for fault in [Fault::Silence, Fault::Drip(Duration::from_millis(20))] {
        let mut world = full("answer_s = 1");
        world.site.spoil([Fault::None, Fault::None, fault]);
        let begun = Moment::now();
        let problem = world.try_look().await.unwrap_err();
        assert_eq!(problem, Problem::Late { what: "an answer", limit_s: 1 });
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        world.look().await;
        assert_eq!(world.taken.len(), ALL);
        world.assert_once();
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_asked_for_in_smaller_ones() {
    let mut world = World::with_token("api = \"v3\"\ncollections = [\"devicestatus\"]\nanswer_bytes_max = 65536");
    for step in 0..120 {
        let status = json!({"device": "loop", "loop": {"predicted": vec![100 + step; 1_000]}});
        world.site.store().write_v3(Kind::Devicestatus, NOW_MS, status);
    }
    assert_eq!(world.look().await, 120);
    world.assert_once();
    let huge = json!({"device": "loop", "x": "y".repeat(70_000)});
    world.site.store().write_v3(Kind::Devicestatus, NOW_MS, huge);
    let problem = world.try_look().await.unwrap_err();
    assert!(problem.to_string().contains("raise `answer_bytes_max`"), "{problem}");
}

#[tokio::test]
async fn a_source_ends_at_once_while_the_site_is_silent() {
    let site = Site::start(None).unwrap();
    site.spoil([Fault::Silence]);
    let (outlet, _intakes) = Outlet::new(4);
    let stop = CancellationToken::new();
    let settings = settings(site.port, "");
    let running = tokio::spawn(run(settings, "site".into(), None, outlet, SourceClock::new(Still), stop.clone()));
    while site.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Moment::now();
    stop.cancel();
    assert_eq!(running.await.unwrap().unwrap(), Ended::Stopped);
    assert!(begun.elapsed() < Duration::from_secs(2));
}
