//! A manager's side of the socket.

use super::*;
use std::cell::Cell;
use std::rc::Rc;

struct Listening {
    socket: UnixDatagram,
    name: OsString,
    _folder: tempfile::TempDir,
}

fn listening() -> Listening {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    Listening { socket, name: path.into(), _folder: folder }
}

impl Listening {
    fn manager(&self, watchdog_us: &'static str) -> Manager {
        let find = |name: &str| match name {
            "NOTIFY_SOCKET" => Some(self.name.clone()),
            "WATCHDOG_USEC" => Some(watchdog_us.into()),
            _ => None,
        };
        Manager::of(find).unwrap().unwrap()
    }

    /// What was said since the last call.
    fn heard(&self) -> Vec<String> {
        let mut bytes = [0; 512];
        let next = || self.socket.recv(&mut bytes).ok().map(|length| String::from_utf8_lossy(&bytes[..length]).into());
        std::iter::from_fn(next).collect()
    }
}

#[test]
fn readiness_and_the_end_are_told_with_a_line_for_people() {
    let listening = listening();
    let manager = listening.manager("");
    manager.ready("2 sources\nREADY=1");
    manager.stopping();
    assert_eq!(listening.heard(), ["READY=1\nSTATUS=2 sources READY=1", "STOPPING=1\nSTATUS=stopping"]);
}

#[test]
fn a_name_that_no_file_has_is_found_too() {
    let hidden = format!("tributary-service-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&hidden).unwrap()).unwrap();
    let find = |name: &str| (name == "NOTIFY_SOCKET").then(|| format!("@{hidden}").into());
    Manager::of(find).unwrap().unwrap().stopping();
    let mut bytes = [0; 64];
    let length = socket.recv(&mut bytes).unwrap();
    assert!(bytes[..length].starts_with(b"STOPPING=1\n"));
}

#[test]
fn without_a_socket_there_is_nobody_and_a_wrong_one_is_an_error() {
    assert!(Manager::of(|_| None).unwrap().is_none());
    assert!(Manager::of(|_| Some(OsString::new())).unwrap().is_none());
    assert!(Manager::of(|_| Some("vsock:2:3".into())).is_err());
    assert!(Manager::of(|_| Some("/nowhere/at/all".into())).is_err());
}

#[test]
fn a_watchdog_for_another_process_is_not_ours() {
    let listening = listening();
    let with = |id: u32| {
        let find = |name: &str| match name {
            "NOTIFY_SOCKET" => Some(listening.name.clone()),
            "WATCHDOG_USEC" => Some("3000000".into()),
            "WATCHDOG_PID" => Some(id.to_string().into()),
            _ => None,
        };
        Manager::of(find).unwrap().unwrap().watchdog
    };
    assert_eq!(with(std::process::id()), Some(Duration::from_secs(3)));
    assert_eq!(with(1), None);
}

#[test]
fn a_manager_that_stands_still_holds_nobody_up() {
    let listening = listening();
    let manager = listening.manager("");
    for _ in 0..5_000 {
        manager.stopping(); // far more than the socket takes
    }
    assert!(listening.heard().len() < 5_000);
}

#[tokio::test(start_paused = true)]
async fn the_watchdog_is_fed_while_there_is_a_pulse_and_only_then() {
    let listening = listening();
    let manager = listening.manager("3000000");
    let beats = Rc::new(Cell::new(true));
    let feeding = manager.keep_told(|| {
        let beats = beats.clone();
        async move {
            while !beats.get() {
                sleep(Duration::from_millis(10)).await;
            }
            "fine".to_owned()
        }
    });
    let watching = async {
        let fed = async |seconds| {
            sleep(Duration::from_secs(seconds)).await;
            listening.heard()
        };
        let three = fed(3).await;
        assert!((2..=3).contains(&three.len()), "{three:?}");
        assert_eq!(three[0], "WATCHDOG=1\nSTATUS=fine");
        beats.set(false);
        fed(1).await; // what was on its way
        assert_eq!(fed(60).await, Vec::<String>::new(), "nothing beats");
        beats.set(true);
        assert!(!fed(2).await.is_empty());
    };
    tokio::select! {
        () = feeding => unreachable!("it runs until it is dropped"),
        () = watching => {}
    }
}
