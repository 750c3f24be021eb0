//! Ports that are stuck, taken, or not there.

use super::*;
use crate::source::device::Line;

/// One end of a terminal pair reports the other end's going as an input/output error, as an unplugged adapter does.
#[tokio::test]
async fn an_error_and_a_lasting_end_of_input_are_both_a_loss() {
    let (near, far) = SerialStream::pair().unwrap();
    let mut port = Port { stream: Stream::Serial(near), suspect: false };
    assert!(matches!(port.read(&mut [0; 8], Duration::from_millis(20)).await, Heard::Silence));
    drop(far);
    let heard = timeout(Duration::from_secs(20), port.read(&mut [0; 8], Duration::from_secs(60))).await.unwrap();
    assert!(matches!(&heard, Heard::Lost(problem) if problem.contains("os error 5")), "{heard:?}");

    let (near, far) = SerialStream::pair().unwrap();
    let mut port = Port { stream: Stream::Serial(far), suspect: false };
    drop(near);
    let heard = timeout(Duration::from_secs(20), port.read(&mut [0; 8], Duration::from_secs(60))).await.unwrap();
    assert!(matches!(&heard, Heard::Lost(_)), "{heard:?}");
}

/// What was written to a device that takes nothing would keep a driver from closing its port.
#[tokio::test]
async fn what_a_stuck_device_has_not_taken_is_thrown_away_when_the_port_is_closed() {
    use std::io::Read;

    let (mut master, path) = emulators::terminal().unwrap();
    let link = Link { port: path.to_str().unwrap().into(), line: Line::plain(9_600) };
    // Another open end keeps the terminal, as a driver keeps what it has not sent, so that what is left can be seen.
    let _kept = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut port = Port::open(&link).await.unwrap();
    let began = std::time::Instant::now();
    let problem = port.write(&[b'x'; 100_000]).await.unwrap_err();
    assert!(problem.contains("takes no bytes for 3 s"), "{problem}");
    let written = began.elapsed();
    port.close(|| panic!("it is not late")).await;
    assert!(began.elapsed() - written < Duration::from_secs(1));
    // The kernel holds some 12 KiB for a terminal, of which 4 KiB are the device's already.
    let (mut left, mut piece) = (0, [0; 1_024]);
    while let Ok(count) = master.read(&mut piece) {
        left += count;
    }
    assert!(left <= 4_096, "{left} bytes are left");
}

/// Takes its time to go.
struct Stuck(Duration);

impl Drop for Stuck {
    fn drop(&mut self) {
        std::thread::sleep(self.0);
    }
}

#[tokio::test]
async fn while_a_stuck_port_is_closed_other_sources_go_on_and_it_is_told_once() {
    let (mut late, mut ticks) = (0, 0);
    let closing = drop_aside(Stuck(Duration::from_millis(600)), Duration::from_millis(100), || late += 1);
    tokio::select! {
        () = closing => {}
        () = async { loop { sleep(Duration::from_millis(20)).await; ticks += 1; } } => {}
    }
    assert!(ticks >= 10, "{ticks}: the thread was kept");
    assert_eq!(late, 1);
}

#[tokio::test]
async fn a_port_that_cannot_be_opened_says_what_to_do() {
    let problem_of = async |port: &str| {
        let link = Link { port: port.into(), line: Line::plain(9_600) };
        Port::open(&link).await.err().expect("no such port")
    };
    let missing = problem_of("/dev/serial/by-id/none").await;
    assert!(missing.contains("is it plugged in?") && missing.ends_with(&ports::named(Path::new("/"))), "{missing}");
    assert!(problem_of("/dev/null").await.contains("check `port`"));
    assert!(problem_of("tcp://127.0.0.1:1").await.contains("that the device listens there"));
}

/// All sources share one thread, and to find out who has a port open takes a look at every process.
#[tokio::test]
async fn why_a_port_cannot_be_opened_is_found_out_beside_the_sources() {
    let link = Link { port: "/dev/serial/by-id/none".into(), line: Line::plain(9_600) };
    for kind in [tokio_serial::ErrorKind::NoDevice, tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound)] {
        let mut pending = 0;
        // At times it is done before anyone can look.
        for _ in 0..10 {
            let error = tokio_serial::Error::new(kind, "it is so");
            let mut found_out = std::pin::pin!(cannot_open(link.clone(), error));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let problem = match found_out.as_mut().poll(&mut context) {
                std::task::Poll::Ready(problem) => problem,
                std::task::Poll::Pending => {
                    pending += 1;
                    found_out.await
                }
            };
            assert!(problem.starts_with("cannot open: it is so; "), "{problem}");
        }
        assert!(pending > 0, "it is at work elsewhere");
    }
}

#[tokio::test]
async fn a_port_that_somebody_has_open_is_said_to_be_taken_and_by_whom() {
    let mut socket = emulators::Socket::new().unwrap();
    let meter = emulators::taidoc::TaiDoc::new(Vec::new());
    socket.plug_in(meter, emulators::Manners::good()).unwrap();
    let link = Link { port: socket.path.to_str().unwrap().into(), line: Line::plain(9_600) };
    let _open = Port::open(&link).await.unwrap();
    let problem = Port::open(&link).await.err().expect("it is taken");
    assert!(problem.contains("this agent itself, for another source has it open"), "{problem}");
}
