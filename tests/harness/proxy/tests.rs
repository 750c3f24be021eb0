use std::io::{ErrorKind, Read, Write};

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// A client and a server, joined by a proxy with `plan`.
fn joined(plan: Plan) -> (Proxy, Arc<Link>, TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port()).unwrap();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    let link = proxy.pass(plan, SOON).unwrap();
    let server = listener.accept().unwrap().0;
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(SOON)).unwrap();
    }
    (proxy, link, client, server)
}

#[test]
fn a_cut_lets_just_so_many_bytes_pass_and_ends_both_ends() {
    for end in [End::Fin, End::Reset] {
        for (way, after) in [(Way::Up, 1), (Way::Up, 700), (Way::Down, 3)] {
            let (_proxy, link, mut client, mut server) = joined(Plan::cut(way, after, end));
            let (from, to) = if way == Way::Up { (&mut client, &mut server) } else { (&mut server, &mut client) };
            from.write_all(&[7; 1_000]).unwrap();
            let mut came = Vec::new();
            let ended = to.read_to_end(&mut came);
            assert_eq!(came.len() as u64, after, "{way:?} {end:?}");
            assert_eq!(ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset), end == End::Reset);
            assert!(link.wait_over(SOON) && link.was_cut());
            assert_eq!(link.passed(way), after);
            assert!(!matches!(from.read(&mut [0; 1]), Ok(1..)), "the sender sees the end too");
        }
    }
}

#[test]
fn a_stalled_way_passes_nothing_and_tells_nobody_until_it_flows_again() {
    let (_proxy, link, mut client, mut server) = joined(Plan::default());
    link.flow(Way::Up, Flow::Stalled);
    std::thread::sleep(Duration::from_millis(200)); // a read that had begun may still bring some bytes: none were sent
    client.write_all(b"hello").unwrap();
    server.write_all(b"the other way").unwrap();
    let mut down = [0; 13];
    client.read_exact(&mut down).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(server.read(&mut [0; 5]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    assert!(!link.is_over());
    link.flow(Way::Up, Flow::Free);
    server.set_read_timeout(Some(SOON)).unwrap();
    let mut up = [0; 5];
    server.read_exact(&mut up).unwrap();
    assert_eq!(&up, b"hello");
}

#[test]
fn a_way_that_is_to_halt_lets_just_so_many_bytes_pass_and_the_rest_once_it_flows_again() {
    let plan = Plan { halt: Some((Way::Up, 700)), ..Plan::default() };
    let (_proxy, link, mut client, mut server) = joined(plan);
    client.write_all(&[1; 1_000]).unwrap();
    server.read_exact(&mut [0; 700]).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(server.read(&mut [0; 1]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    assert_eq!((link.passed(Way::Up), link.is_over()), (700, false));
    link.flow(Way::Up, Flow::Free);
    server.set_read_timeout(Some(SOON)).unwrap();
    server.read_exact(&mut [0; 300]).unwrap();
}

#[test]
fn a_slow_way_takes_its_time() {
    let plan = Plan { up: Flow::BytesPerSecond(10_000), ..Plan::default() };
    let (_proxy, link, mut client, mut server) = joined(plan);
    let began = Instant::now();
    client.write_all(&[1; 5_000]).unwrap();
    let mut came = [0; 5_000];
    server.read_exact(&mut came).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
    drop(client);
    assert!(link.wait_over(SOON));
    assert_eq!(link.passed(Way::Up), 5_000);
}

#[test]
fn an_end_passes_through_and_a_gate_holds_the_next_one_back() {
    let (proxy, link, client, mut server) = joined(Plan::default());
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    assert!(link.wait_over(SOON) && !link.was_cut());
    let mut waiting = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    assert!(proxy.newest_after(1, Duration::from_millis(100)).is_none());
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    proxy.aim(elsewhere.local_addr().unwrap().port());
    let _link = proxy.pass(Plan::default(), SOON).unwrap();
    let mut server = elsewhere.accept().unwrap().0;
    waiting.write_all(b"in").unwrap();
    let mut came = [0; 2];
    server.read_exact(&mut came).unwrap();
    assert_eq!(&came, b"in");
}
