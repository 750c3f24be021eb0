use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::*;
use crate::source::testing::{NOON, Running, configured, told_all};
use crate::source::{Configured, Settings as Any};

fn socket(path: &Path, more: &str) -> Configured {
    configured(&format!(
        "name = \"apps\"\ntype = \"socket\"\npath = {path:?}\n{more}\n\
         series = [{{ column = \"t\", name = \"t\", max = 85 }}, {{ column = \"s\", name = \"s\", kind = \"text\" }}]"
    ))
}

fn start(source: &Configured) -> Running {
    Running::start(source, None, &SourceClock::invented(NOON), 16)
}

struct Client {
    answers: Lines<BufReader<OwnedReadHalf>>,
    to: OwnedWriteHalf,
}

impl Client {
    async fn connect(path: &Path) -> Self {
        let began = std::time::Instant::now();
        loop {
            match UnixStream::connect(path).await {
                Ok(stream) => {
                    let (from, to) = stream.into_split();
                    return Self { answers: BufReader::new(from).lines(), to };
                }
                Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn say(&mut self, text: &str) {
        self.to.write_all(text.as_bytes()).await.unwrap();
    }

    async fn answer(&mut self) -> Option<String> {
        timeout(Duration::from_secs(20), self.answers.next_line()).await.expect("an answer within 20 s").unwrap()
    }
}

/// What a source says that cannot begin.
async fn refusal(source: &Configured) -> String {
    let ended = timeout(Duration::from_secs(20), start(source).task).await;
    ended.expect("an end within 20 s").unwrap().unwrap_err().to_string()
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("readings.sock");
    (folder, path)
}

#[test]
fn the_sample_is_valid_and_shows_every_default() {
    #[derive(serde::Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let sample: Sample = toml::from_str(include_str!("sample.toml")).unwrap();
    sample.source[0].validate().unwrap();
    let Any::Socket(full) = &sample.source[0].settings else { unreachable!() };
    let Any::Socket(bare) = socket(&full.path, "").settings else { unreachable!() };
    assert_eq!(&Settings { time: full.time.clone(), series: full.series.clone(), ..bare }, full);
}

#[test]
fn settings_that_cannot_be_are_named() {
    let long = format!("/{}", "x".repeat(120));
    for (path, more, field) in [
        ("here.sock", "", "path"),
        (long.as_str(), "", "path"),
        ("/a", "idle_s = 0", "idle_s"),
        ("/a", "connections_max = 65", "connections_max"),
        ("/a", "line_bytes_max = 1", "line_bytes_max"),
        ("/a", "time = { column = 1 }", "time.column"),
    ] {
        let series = "series = [{ column = \"t\", name = \"t\" }]";
        let text = format!("name = \"a\"\ntype = \"socket\"\npath = \"{path}\"\n{more}\n{series}");
        let source: Configured = toml::from_str(&text).unwrap();
        assert_eq!(source.validate().unwrap_err().field, format!("source.a.{field}"));
    }
}

#[tokio::test]
async fn each_line_is_answered_in_order_and_not_before_it_is_stored() {
    let (_folder, path) = folder();
    let mut running = start(&socket(&path, ""));
    let mut client = Client::connect(&path).await;
    client.say("{\"t\":21.5,\"s\":\"ok\"}\n\n{\"t\":99}\n{\"t\":4711x}\n{\"u\":1}\n{\"t\":22}\n").await;
    let mut intake = running.next().await;
    assert!(timeout(Duration::from_millis(300), client.answers.next_line()).await.is_err(), "it is not stored yet");
    assert!(!intake.urgent && intake.cursor.is_none());
    std::mem::take(&mut intake.confirm).tell(Ok(()));
    assert_eq!(client.answer().await.unwrap(), r#"{"ok":true,"line":1,"n":2}"#);
    let wrong = client.answer().await.unwrap();
    assert_eq!(wrong, r#"{"ok":false,"line":3,"error":"field `t` is above its `max` 85"}"#);
    let wrong = client.answer().await.unwrap();
    assert!(wrong.contains("\"line\":4") && wrong.contains("no JSON object") && !wrong.contains("4711"), "{wrong}");
    assert!(client.answer().await.unwrap().contains("none of the fields"));
    assert_eq!(client.answer().await.unwrap(), r#"{"ok":true,"line":6,"n":1}"#);
    let told = told_all(&[intake]);
    assert_eq!((told.len(), told[2].contains("gauge 22")), (6, true), "{told:?}");
    assert!(told[3].starts_with("rejected socket line 3: field `t`"), "{told:?}");
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_answered_so_and_costs_its_neighbours_nothing() {
    let (_folder, path) = folder();
    let mut running = start(&socket(&path, ""));
    let mut client = Client::connect(&path).await;
    client.say("{\"t\":1}\n{\"t\":2}\n").await;
    let refused = || Err(crate::source::NotCommitted::Refused("too long".into()));
    for outcome in [refused(), Ok(()), refused()] {
        let mut intake = running.next().await;
        std::mem::take(&mut intake.confirm).tell(outcome);
    }
    assert_eq!(client.answer().await.unwrap(), r#"{"ok":true,"line":1,"n":1}"#);
    assert_eq!(client.answer().await.unwrap(), r#"{"ok":false,"line":2,"error":"too long"}"#);
    client.say("{\"t\":3}\n").await;
    drop(running.next().await); // as an agent does that ends with a full disk
    assert!(client.answer().await.unwrap().contains("not stored: the agent is stopping"));
    running.stop().await;
}

#[tokio::test]
async fn a_line_without_end_a_silent_client_and_one_too_many_are_told_so() {
    let (_folder, path) = folder();
    let mut running = start(&socket(&path, "line_bytes_max = 256\nidle_s = 1\nconnections_max = 1"));
    let mut client = Client::connect(&path).await;
    client.say("{").await; // served now
    sleep(Duration::from_millis(50)).await;
    let mut other = Client::connect(&path).await;
    assert!(other.answer().await.unwrap().contains("too many connections"));
    assert_eq!(other.answer().await, None);
    let mut long = "x".repeat(1_000_000);
    long.push('\n');
    client.say(&long).await;
    let mut rejected = running.next().await;
    assert_eq!((rejected.samples.len(), rejected.rejects.len()), (0, 1));
    std::mem::take(&mut rejected.confirm).tell(Ok(()));
    assert!(client.answer().await.unwrap().contains("longer than `line_bytes_max`"));
    assert!(client.answer().await.unwrap().contains("idle_s"));
    assert_eq!(client.answer().await, None);
    running.stop().await;
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_goes_with_the_source() {
    let (folder, path) = folder();
    let running = start(&socket(&path, ""));
    let _client = Client::connect(&path).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    running.stop().await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_left_over_socket_is_taken_over_and_nothing_else_is() {
    let (_folder, path) = folder();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // as after a kill
    assert!(UnixStream::connect(&path).await.is_err());
    let running = start(&socket(&path, ""));
    let _client = Client::connect(&path).await;
    let second = refusal(&socket(&path, "")).await;
    assert!(second.contains("another program"), "{second}");
    running.stop().await;
    std::fs::write(&path, "a file").unwrap();
    let file = refusal(&socket(&path, "")).await;
    assert!(file.contains("no socket") && file.contains("choose another `path`"), "{file}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    let nowhere = refusal(&socket(&path.join("x/y"), "")).await;
    assert!(nowhere.contains("cannot be"), "{nowhere}");
}
