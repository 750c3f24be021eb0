//! A process's sockets, by `/proc`: which of its descriptors are sockets, and what the kernel's tables say of them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use super::descriptors;

/// For what is no longer new, or not yet closed, to be so.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// What a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Udp,
    Unix,
    /// To ask the kernel: the resolver does that.
    Netlink,
    /// Raw packets and the like.
    Raw,
    /// In no table. It was made a moment ago, or it is of a kind that nobody knows.
    Unknown,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    pub(super) kind: Kind,
    /// The local port.
    pub(super) port: u16,
    remote: Option<(IpAddr, u16)>,
    /// As the kernel says it: listening, or, of UDP, bound with no peer.
    is_open: bool,
    path: String,
}

impl Socket {
    /// Whether others could begin to speak to it.
    pub(super) fn listens(&self) -> bool {
        self.is_open
    }

    /// Whether an agent has no use for it.
    pub(super) fn is_strange(&self) -> bool {
        matches!(self.kind, Kind::Raw | Kind::Unknown) || !self.path.is_empty()
    }

    /// Whether it is a Unix socket of this name, or a connection to it.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.kind == Kind::Unix && Path::new(&self.path) == path
    }

    /// Where it leads.
    pub(super) fn destination(&self) -> Option<String> {
        let (address, port) = self.remote?;
        // The resolver asks the kernel by which way it would go to each address, with a socket that sends nothing.
        (self.kind == Kind::Tcp).then(|| format!("{address}:{port}"))
    }
}

/// All of them.
///
/// # Errors
/// When the process is gone.
pub(super) fn of(id: u32) -> io::Result<Vec<Socket>> {
    let mut all = Vec::new();
    let tables = tables(id);
    for inode in inodes(id)? {
        match tables.get(&inode) {
            Some(socket) => all.push(socket.clone()),
            None => all.extend(later(id, inode)?),
        }
    }
    Ok(all)
}

/// A socket that was in no table: it may be new, or gone. One that is about to connect is in none, nor is one that was reset,
/// for as long as its process does not come to the processor.
fn later(id: u32, inode: u64) -> io::Result<Option<Socket>> {
    let began = Instant::now();
    while began.elapsed() < SEEN_WITHIN {
        std::thread::sleep(Duration::from_millis(1));
        if !inodes(id)?.contains(&inode) {
            return Ok(None);
        }
        if let Some(socket) = tables(id).get(&inode) {
            return Ok(Some(socket.clone()));
        }
    }
    Ok(Some(Socket { kind: Kind::Unknown, port: 0, remote: None, is_open: false, path: String::new() }))
}

fn inodes(id: u32) -> io::Result<Vec<u64>> {
    let inode = |target: &String| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    Ok(descriptors::of(id)?.values().filter_map(inode).collect())
}

fn tables(id: u32) -> BTreeMap<u64, Socket> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/net/{name}")).unwrap_or_default();
    let mut all = BTreeMap::new();
    for (name, kind) in [
        ("tcp", Kind::Tcp),
        ("tcp6", Kind::Tcp),
        ("udp", Kind::Udp),
        ("udp6", Kind::Udp),
        ("udplite", Kind::Udp),
        ("udplite6", Kind::Udp),
        ("icmp", Kind::Raw),
        ("icmp6", Kind::Raw),
        ("raw", Kind::Raw),
        ("raw6", Kind::Raw),
    ] {
        all.extend(read(name).lines().skip(1).filter_map(|line| internet(line, kind)));
    }
    all.extend(read("unix").lines().skip(1).filter_map(unix));
    let plain = |kind| Socket { kind, port: 0, remote: None, is_open: false, path: String::new() };
    let last = |name: &str, place: usize| -> Vec<u64> {
        read(name).lines().skip(1).filter_map(|line| line.split_whitespace().nth(place)?.parse().ok()).collect()
    };
    all.extend(last("netlink", 9).into_iter().map(|inode| (inode, plain(Kind::Netlink))));
    all.extend(last("packet", 8).into_iter().map(|inode| (inode, plain(Kind::Raw))));
    all
}

/// A line of the tables of TCP and its like (proc(5)).
fn internet(line: &str, kind: Kind) -> Option<(u64, Socket)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, remote) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
    let has_peer = remote.1 != 0;
    let is_open = match kind {
        Kind::Tcp => *fields.get(3)? == "0A", // LISTEN
        _ => !has_peer,
    };
    let remote = has_peer.then_some(remote);
    Some((fields.get(9)?.parse().ok()?, Socket { kind, port: local.1, remote, is_open, path: String::new() }))
}

/// Hexadecimal, each four bytes of the address in the machine's order.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..address.len() / 8)
        .map(|place| u32::from_str_radix(address.get(place * 8..place * 8 + 8)?, 16).ok())
        .map(|word| word.map(u32::to_ne_bytes))
        .collect::<Option<_>>()?;
    let address = match words.as_slice() {
        [only] => IpAddr::V4(Ipv4Addr::from(*only)),
        [_, _, _, _] => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?)),
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

/// A line of the table of Unix sockets. What has a name can be found by others.
fn unix(line: &str) -> Option<(u64, Socket)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let is_open = u32::from_str_radix(fields.get(3)?, 16).ok()? & 0x1_0000 != 0; // it accepts
    let path = fields.get(7).copied().unwrap_or_default().to_owned();
    Some((fields.get(6)?.parse().ok()?, Socket { kind: Kind::Unix, port: 0, remote: None, is_open, path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 4242 1";
        let (inode, socket) = internet(line, Kind::Tcp).unwrap();
        assert!(inode == 4_242 && socket.listens() && socket.port == 8_080 && socket.destination().is_none());
        let line = "   1: 0100007F:C350 0100007F:22B3 01 00000000:00000000 00:00000000 00000000  1000 0 7 1";
        let (_, socket) = internet(line, Kind::Tcp).unwrap();
        assert!(!socket.listens());
        assert_eq!(socket.destination().as_deref(), Some("127.0.0.1:8883"));
        let line =
            "   1: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 8 2";
        let (inode, socket) = internet(line, Kind::Udp).unwrap();
        assert!(inode == 8 && socket.listens() && socket.port == 53);
        let (_, socket) = unix("0: 00000002 00000000 00010000 0001 01 9 /run/agent.sock").unwrap();
        assert!(socket.listens() && socket.is_strange());
        let (_, socket) = unix("0: 00000003 00000000 00000000 0001 03 9").unwrap();
        assert!(!socket.listens() && !socket.is_strange());
    }
}
