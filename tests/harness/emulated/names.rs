//! How a static program finds a name: it reads `/etc/hosts` and `/etc/resolv.conf` by itself, for it has no C library
//! that could be told otherwise. Both files are of our own, and so is the name server.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use super::Target;
use crate::issuing::SOURCE;
use crate::servers::Missing;
use crate::{Agent, Gateway, Pki, wait_for};

/// A name that `/etc/hosts` knows.
pub const BY_FILE: &str = "by-file.test";
/// A name that only the name server knows.
pub const BY_SERVER: &str = "by-server.test";
/// For readings to arrive.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often the name server looks for its own end.
const TICK: Duration = Duration::from_millis(50);
const TYPE_A: [u8; 2] = [0, 1];

/// Lets `agent` find its gateway by each of both names; answers how many questions the name server was asked.
///
/// # Errors
/// [`Missing`] when this user may not open port 53, or there is no QEMU; when something does not start.
///
/// # Panics
/// When no readings arrive.
pub fn run(folder: &Path, target: Target, agent: &Path) -> anyhow::Result<usize> {
    let server = NameServer::start(BY_SERVER)?;
    let root = folder.join("root");
    std::fs::create_dir_all(root.join("etc"))?;
    std::fs::write(root.join("etc/hosts"), format!("127.0.0.1 {BY_FILE}\n"))?;
    std::fs::write(root.join("etc/resolv.conf"), format!("nameserver {}\noptions timeout:2\n", server.address))?;
    let program = target.emulated(agent, folder, Some(&root))?;
    let pki = Pki::create(&folder.join("pki"));
    let names = [BY_FILE, BY_SERVER, "localhost", "127.0.0.1"];
    let gateway = Gateway::start(&folder.join("gateway"), pki.server_named(&names, 0), "");
    for (device, name) in [("device-1", BY_FILE), ("device-2", BY_SERVER)] {
        let files = pki.device(device);
        let mut agent = Agent::new(&folder.join(device), device, Some(gateway.mqtt_port), &files, SOURCE);
        agent.set_uplink("host", &format!("{name:?}"));
        agent.program.clone_from(&program);
        agent.start();
        wait_for(&format!("readings of an agent that looks for {name}"), DEADLINE, || {
            let devices = gateway.get("/api/v1/devices").ok()?;
            let found = devices["devices"].as_array()?.iter().find(|found| found["id"] == device)?.clone();
            (found["readings"].as_u64()? > 0).then_some(())
        });
        agent.stop();
    }
    server.end()
}

/// Knows one name: it is this machine.
struct NameServer {
    address: Ipv4Addr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<usize>>,
}

impl NameServer {
    fn start(name: &'static str) -> anyhow::Result<Self> {
        // All of 127.0.0.0/8 is this machine; programs ask at port 53 and no other.
        let [.., a, b] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 53, a, b.clamp(1, 254));
        let socket = UdpSocket::bind((address, 53)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Missing("port 53 is for root alone here".into()).into(),
            _ => anyhow::Error::from(error).context(format!("open port 53 of {address}")),
        })?;
        socket.set_read_timeout(Some(TICK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let own = stop.clone();
        let thread =
            std::thread::Builder::new().name("name server".into()).spawn(move || serve(&socket, name, &own))?;
        Ok(Self { address, stop, thread })
    }

    fn end(self) -> anyhow::Result<usize> {
        self.stop.store(true, Ordering::Release);
        let asked = self.thread.join().map_err(|_| anyhow::anyhow!("the name server panicked"))?;
        asked.context("serve names")
    }
}

fn serve(socket: &UdpSocket, name: &str, stop: &AtomicBool) -> io::Result<usize> {
    let (mut asked, mut packet) = (0, [0; 512]);
    while !stop.load(Ordering::Acquire) {
        match socket.recv_from(&mut packet) {
            Ok((length, from)) => {
                if let Some(answer) = answer(&packet[..length], name) {
                    asked += 1;
                    socket.send_to(&answer, from)?;
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(asked)
}

/// RFC 1035, section 4: a header of twelve bytes, the question (labels, type, class) as it came, and the address if it is
/// asked for. Another name does not exist.
fn answer(query: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    for label in name.split('.') {
        labels.push(u8::try_from(label.len()).ok()?);
        labels.extend(label.as_bytes());
    }
    let (header, rest) = query.split_at_checked(12)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let question = rest.get(..end + 5)?;
    let (is_known, is_address) = (question[..end] == labels, question[end + 1..end + 3] == TYPE_A);
    let has_answer = is_known && is_address;
    let code = if is_known { 0 } else { 3 };
    let mut packet = header[..2].to_vec();
    packet.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(has_answer), 0, 0, 0, 0]);
    packet.extend(question);
    if has_answer {
        // The name (as at byte 12), type A, class IN, a minute, four bytes.
        packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(packet)
}
