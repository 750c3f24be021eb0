//! The API over real HTTP, on a real store.

#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test that fails says so")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use proto::message::{Gap, GapReason, Held};
use proto::{Basis, Range, State as Condition, Value};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tributary_gateway::api::{self, Metric, MetricKind};
use tributary_gateway::store::Item;
use tributary_gateway::store::SubjectSeed;
use tributary_gateway::store::sqlite::{Store, Writer};

#[path = "support/batches.rs"]
mod batches;
#[path = "support/http.rs"]
mod http;
#[path = "support/secure.rs"]
mod secure;
use batches::{EPOCH, MINUTE, NOW, batch, batch_of, column, meter, now, open, record};
use http::{Events, ask, get};

/// An API with what it answers from.
struct World {
    writer: Option<Writer>,
    address: SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
    folder: TempDir,
}

impl World {
    async fn start() -> Self {
        Self::start_with(None, api::Bounds::default()).await
    }

    async fn start_with(tls: Option<api::Tls>, bounds: api::Bounds) -> Self {
        Self::start_counted(tls, bounds).await.0
    }

    /// With what its door counts.
    async fn start_counted(tls: Option<api::Tls>, bounds: api::Bounds) -> (Self, Arc<api::Counters>) {
        let folder = TempDir::new().unwrap();
        let mut store = open(&folder);
        let devices = vec![meter()];
        let seed = SubjectSeed { id: "ada".into(), display_name: "Ada".into(), zone: "Europe/Berlin".into(), devices };
        store.ensure_subject(&seed).unwrap();
        let Store { writer, reader } = store;
        let metric =
            Metric { name: "answer", labels: "", help: "Known.", kind: MetricKind::Counter, read: Box::new(|| 42.0) };
        let state = api::State::new(reader, writer.subscribe(), vec![metric], Box::new(|| true), now);
        let listener = api::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let door = api::Door::new(listener, tls, bounds);
        let counters = door.counters();
        let served = tokio::spawn(api::serve(door, state, stop.clone()));
        (Self { writer: Some(writer), address, stop, served, folder }, counters)
    }

    fn record(&mut self, items: impl IntoIterator<Item = Item>) {
        record(self.writer.as_mut().unwrap(), items);
    }

    /// The JSON of a good answer.
    async fn get(&self, path: &str) -> Json {
        let answer = get(self.address, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/json");
        let json = answer.json();
        assert_eq!(json["as_of_us"], NOW, "{path} says when it was answered");
        json
    }

    /// Status and detail of a bad answer.
    async fn problem(&self, path: &str) -> (u16, String) {
        let answer = get(self.address, path).await;
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        let json = answer.json();
        assert_eq!(json["status"], answer.status);
        assert!(json["type"].is_string() && json["title"].is_string());
        (answer.status, json["detail"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn devices_series_and_subjects_are_told_as_agreed() {
    let mut world = World::start().await;
    let low = (NOW - MINUTE, Value::State(Condition::Low(39)));
    let readings = [(NOW - 2 * MINUTE, Value::Number(104.0)), low];
    world.record([
        Item::Presence { device: meter(), connected: true },
        Item::Batch(batch_of(1, vec![column(Basis::Source, readings)])),
    ]);
    let point = json!({ "t": NOW - MINUTE, "v": null, "s": "low(39)", "q": "source", "o": null });
    let series = json!({
        "id": 1, "device": "meter-7", "name": "glucose", "unit": "mg/dL", "kind": "gauge", "display_name": "glucose",
        "readings": 2, "first_us": NOW - 2 * MINUTE, "last_us": NOW - MINUTE, "latest": point,
    });
    let device = json!({
        "id": "meter-7", "display_name": "meter-7", "connected": true, "first_seen_us": NOW, "last_seen_us": NOW,
        "last_reading_us": NOW - MINUTE, "lag_us": MINUTE, "readings": 2, "batches": 1, "quarantined": 0, "gaps": 0,
        "alarms": [],
    });
    let subject = json!({
        "id": "ada", "display_name": "Ada", "zone": "Europe/Berlin", "glucose_band": { "low": 70.0, "high": 180.0 },
        "series": [series],
    });
    for (path, expected) in [
        ("/api/v1/devices", json!({ "devices": [device] })),
        ("/api/v1/devices/meter-7", json!({ "device": device, "series": [series] })),
        ("/api/v1/series", json!({ "series": [series] })),
        ("/api/v1/series?device=meter-7", json!({ "series": [series] })),
        ("/api/v1/series?device=other", json!({ "series": [] })),
        ("/api/v1/latest?device=meter-7", json!({ "latest": [{ "series": series, "point": point }] })),
        ("/api/v1/latest?subject=ada", json!({ "latest": [{ "series": series, "point": point }] })),
        ("/api/v1/subjects", json!({ "subjects": [subject] })),
        ("/api/v1/subjects/ada", json!({ "subject": subject })),
        ("/api/v1/quarantine", json!({ "entries": [] })),
    ] {
        let mut answer = world.get(path).await;
        answer.as_object_mut().unwrap().remove("as_of_us");
        assert_eq!(answer, expected, "{path}");
    }
    let about = world.get("/api/v1/about").await;
    assert_eq!((&about["store"], &about["readings"]), (&json!("sqlite"), &json!(2)));
}

#[tokio::test]
async fn readings_are_raw_while_they_are_few_and_thinned_to_extremes_when_they_are_many() {
    let mut world = World::start().await;
    let value = |minute: i64| if minute == 700 { 333.0 } else { 100.0 + (minute % 5) as f64 };
    let day: Vec<(i64, f64)> = (0..1_440).map(|minute| (NOW - (1_440 - minute) * MINUTE, value(minute))).collect();
    world.record([Item::Batch(batch(1, &day))]);
    let thin = world.get("/api/v1/series/1/readings?points=50").await;
    assert_eq!((&thin["level"], &thin["readings_in_range"]), (&json!("min-max"), &json!(1_440)));
    let points = thin["points"].as_array().unwrap();
    assert!(points.len() <= 50 && points.iter().any(|point| point["v"] == 333.0));
    assert_eq!((&thin["from_us"], &thin["newest_us"]), (&json!(NOW - 1_440 * MINUTE), &json!(NOW - MINUTE)));

    let from = NOW - 3 * MINUTE;
    let raw = world.get(&format!("/api/v1/series/1/readings?from_us={from}&to_us={}", NOW - MINUTE)).await;
    assert_eq!(raw["level"], "raw");
    let times: Vec<&Json> = raw["points"].as_array().unwrap().iter().map(|point| &point["t"]).collect();
    assert_eq!(times, [from, NOW - 2 * MINUTE], "half open");
}

#[tokio::test]
async fn days_are_counted_in_the_asked_zone() {
    let mut world = World::start().await;
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    world.record([Item::Batch(batch(1, &[(at("2025-03-30T12:00:00Z"), 1.0), (at("2025-03-29T23:30:00Z"), 1.0)]))]);
    let answer = world.get("/api/v1/series/1/days?zone=Europe/Berlin").await;
    let from = at("2025-03-29T23:00:00Z");
    let day = json!({ "date": "2025-03-30", "from_us": from, "to_us": from + 23 * 60 * MINUTE, "readings": 2 });
    assert_eq!(answer["days"], json!([day]));
    let (status, detail) = world.problem("/api/v1/series/1/days?zone=Mars/Base").await;
    assert!(status == 400 && detail.contains("`zone`"), "{detail}");
}

#[tokio::test]
async fn the_ledger_shows_what_is_settled_what_waits_and_what_will_never_come() {
    let mut world = World::start().await;
    let lost = Gap {
        epoch: Some(EPOCH),
        range: Range::new(4, 5),
        source: Some("meter".into()),
        from: None,
        until: None,
        boot: None,
        count: Some(12),
        reason: GapReason::Evicted,
    };
    world.record([
        Item::Batch(batch(1, &[(NOW, 1.0)])),
        Item::Gaps { device: meter(), gaps: vec![lost] },
        Item::Held { device: meter(), held: vec![Held { epoch: EPOCH, ranges: vec![Range::one(2)], next: 7 }] },
    ]);
    let ledger = world.get("/api/v1/devices/meter-7/ledger").await;
    let epoch = json!({
        "epoch": "0707070707070707", "first_arrival_us": NOW, "last_arrival_us": NOW, "next": 7, "is_astray": false,
        "counts": { "stored": 1, "quarantined": 0, "waiting": 1, "repaired": 0, "lost": 4 },
        "ranges": [{ "first": 1, "last": 1, "state": "stored" }, { "first": 3, "last": 6, "state": "gap" }],
    });
    assert_eq!(ledger["epochs"], json!([epoch]));
    assert_eq!(ledger["totals"], epoch["counts"]);
    let of = |reason: &str, gaps: u8, numbers: u8, readings: u8, uncounted: u8| json!({ "reason": reason, "gaps": gaps, "numbers": numbers, "readings": readings, "uncounted": uncounted });
    assert_eq!(ledger["lost"], json!([of("unexplained", 2, 2, 0, 2), of("evicted", 1, 2, 12, 0)]));
    let raised = json!([{ "kind": "unexplained_gap", "first_us": NOW, "last_us": NOW, "count": 1 }]);
    assert_eq!(ledger["alarms"], raised);
    assert_eq!(world.get("/api/v1/devices/meter-7").await["device"]["alarms"], json!(["unexplained_gap"]));
    let gap = json!({
        "epoch": "0707070707070707", "first": 4, "last": 5, "source": "meter", "from_us": null, "to_us": null,
        "count": 12, "reason": "evicted", "numbers": null,
    });
    assert_eq!(
        (&json!([ledger["gaps"][2]]), &ledger["device"], &ledger["connected"]),
        (&json!([gap]), &json!("meter-7"), &json!(false))
    );
}

#[tokio::test]
async fn a_bad_request_is_told_which_parameter_is_wrong() {
    let mut world = World::start().await;
    world.record([Item::Batch(batch(1, &[(NOW, 1.0)]))]);
    for (path, expected, named) in [
        ("/api/v1/series/1/readings?points=1", 400, "`points`"),
        ("/api/v1/series/1/readings?points=10001", 400, "`points`"),
        ("/api/v1/series/1/readings?points=many", 400, "`points`"),
        ("/api/v1/series/1/readings?from_us=yesterday", 400, "`from_us`"),
        ("/api/v1/series/1/readings?from_us=2&to_us=2", 400, "`to_us`"),
        ("/api/v1/series/1/readings?from_us=2&from_us=3", 400, "`from_us`"),
        ("/api/v1/series/one/readings", 400, "`id`"),
        ("/api/v1/series/99/readings", 404, "series `99`"),
        ("/api/v1/latest", 400, "`device`"),
        ("/api/v1/latest?subject=nobody", 404, "subject `nobody`"),
        ("/api/v1/devices/nobody", 404, "device `nobody`"),
        ("/api/v1/devices/nobody/ledger", 404, "device `nobody`"),
        ("/api/v1/live?series=1,x", 400, "`series`"),
        ("/api/v1/nothing", 404, "/nothing"),
        ("/api/v2/devices", 404, "/api/v2/devices"),
    ] {
        let (status, detail) = world.problem(path).await;
        assert!(status == expected && detail.contains(named), "{path}: {status} {detail}");
    }
    let post = ask(world.address, "POST", "/api/v1/devices", &world.address.to_string(), "").await;
    assert_eq!((post.status, post.header("content-type")), (405, "application/problem+json"));
}

#[tokio::test]
async fn only_requests_to_the_address_it_listens_on_are_answered() {
    let world = World::start().await;
    let port = world.address.port();
    let status = async |host: &str, more: &str| {
        let answer = ask(world.address, "GET", "/api/v1/devices", host, more).await;
        assert_eq!(answer.status == 200, answer.header("content-type") == "application/json");
        answer.status
    };
    for host in [format!("127.0.0.1:{port}"), format!("LOCALHOST:{port}"), format!("[::1]:{port}")] {
        assert_eq!(status(&host, "").await, 200, "{host}");
        assert_eq!(status(&host, &format!("origin: http://{host}\r\n")).await, 200, "{host}");
        for origin in
            ["http://evil.example", "null", &format!("https://{host}"), &format!("http://{host}.evil.example")]
        {
            assert_eq!(status(&host, &format!("origin: {origin}\r\n")).await, 403, "{origin}");
        }
    }
    for host in ["evil.example", "localhost", &format!("evil.example:{port}"), ""] {
        assert_eq!(status(host, "").await, 403, "{host}");
    }
}

#[tokio::test]
async fn every_answer_tells_the_browser_to_trust_nothing_else_and_to_keep_nothing() {
    let world = World::start().await;
    for path in ["/api/v1/devices", "/", "/healthz", "/api/v1/nothing"] {
        let answer = get(world.address, path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        let cache = answer.header("cache-control");
        assert!(if path == "/" { cache == "no-cache" || cache == "no-store" } else { cache == "no-store" }, "{path}");
    }
}

#[tokio::test]
async fn a_committed_reading_reaches_a_live_view() {
    let mut world = World::start().await;
    world.record([Item::Batch(batch(1, &[(NOW - MINUTE, 98.0)]))]);
    let mut all = Events::open(world.address, "/api/v1/live").await;
    let mut mine = Events::open(world.address, "/api/v1/live?series=1").await;
    let mut other = Events::open(world.address, "/api/v1/live?device=other").await;
    for view in [&mut all, &mut mine, &mut other] {
        assert_eq!(view.next("heartbeat").await, json!({ "as_of_us": NOW }));
    }
    world.record([Item::Batch(batch(2, &[(NOW, 104.0)]))]);
    let point = json!({ "t": NOW, "v": 104.0, "s": null, "q": "source", "o": null });
    for view in [&mut all, &mut mine] {
        assert_eq!(view.next("reading").await, json!({ "series": 1, "points": [point] }));
    }
    assert_eq!(all.next("device").await["readings"], 2);
    world.record([Item::Presence { device: "other".parse().unwrap(), connected: true }]);
    assert_eq!(other.next("device").await["connected"], true);
    world.stop.cancel();
    all.wait_for_end().await;
    world.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_live_view_that_falls_far_behind_is_told_to_read_again() {
    let mut world = World::start().await;
    let mut view = Events::open(world.address, "/api/v1/live").await;
    view.next("heartbeat").await;
    let many: Vec<(i64, f64)> = (0..5_001).map(|place| (NOW - place, 1.0)).collect();
    world.record([Item::Batch(batch(1, &many))]);
    assert_eq!(view.next("resync").await, json!({}));
    world.record([Item::Batch(batch(2, &[(NOW, 7.0)]))]);
    assert_eq!(view.next("reading").await["points"][0]["v"], 7.0);
}

#[tokio::test]
async fn health_readiness_and_metrics_are_told_to_who_operates() {
    let mut world = World::start().await;
    assert_eq!(get(world.address, "/healthz").await.body, "ok");
    assert_eq!(get(world.address, "/readyz").await.json(), json!({ "ready": true, "reasons": [] }));
    world.record([Item::Batch(batch(1, &[(NOW, 1.0)])), Item::Batch(batch(1, &[(NOW, 2.0)]))]);
    let metrics = get(world.address, "/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let expected = ["# TYPE answer counter\nanswer 42\n", "\ntributary_readings 1\n", "{kind=\"conflict\"} 1\n"];
    for line in expected {
        assert!(metrics.body.contains(line), "{line} is not in\n{}", metrics.body);
    }
    let store = rusqlite::Connection::open(world.folder.path().join("gateway.db")).unwrap();
    store.execute_batch("alter table device rename to device_gone").unwrap();
    let metrics = get(world.address, "/metrics").await;
    assert_eq!(metrics.status, 200, "what the process counts can be read where the store cannot");
    assert!(
        metrics.body.contains("\nanswer 42\n") && metrics.body.contains("# the store cannot be read"),
        "{}",
        metrics.body
    );
    assert!(!metrics.body.contains("tributary_readings"), "{}", metrics.body);
    world.writer = None;
    let unready = get(world.address, "/readyz").await;
    assert_eq!((unready.status, &unready.json()["ready"]), (503, &json!(false)));
}

#[tokio::test]
async fn what_is_no_api_path_is_the_dashboard() {
    let world = World::start().await;
    let index = get(world.address, "/").await;
    assert_eq!(index.status, 200);
    let (is_built, kind) = (!index.header("etag").is_empty(), index.header("content-type"));
    assert!(if is_built { kind.starts_with("text/html") } else { index.body.contains("make ui") }, "{kind}");
    assert_eq!(get(world.address, "/device/meter-7").await.body, index.body);
    assert_eq!(world.problem("/assets/nothing.js").await.0, 404);
    if is_built {
        let known = format!("if-none-match: {}\r\n", index.header("etag"));
        assert_eq!(ask(world.address, "GET", "/", &world.address.to_string(), &known).await.status, 304);
    }
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() {
    for open in ["0.0.0.0:0", "192.0.2.1:80", "[::]:0"] {
        let error = api::check_address(open.parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("listen on 127.0.0.1 or [::1] only"), "{error}");
        assert!(api::bind(open.parse().unwrap()).await.is_err());
    }
    assert!(api::check_address("[::1]:8080".parse().unwrap()).is_ok());
}

#[test]
fn the_page_lists_each_path_and_no_other() {
    let until = |text: &'static str, end: char| text.split(end).next().unwrap();
    let rows = include_str!("../../docs/api.md").lines().filter_map(|line| line.strip_prefix("| `/"));
    let listed: BTreeSet<String> = rows.map(|row| format!("/{}", until(row, '`'))).collect();
    let (under, beside) = include_str!("../src/api.rs").split_once(".nest(\"/api/v1\"").unwrap();
    let routes = |text: &'static str, prefix: &'static str| {
        text.split(".route(\"").skip(1).map(move |route| format!("{prefix}{}", until(route, '"')))
    };
    assert_eq!(listed, routes(under, "/api/v1").chain(routes(beside, "")).collect());
}
