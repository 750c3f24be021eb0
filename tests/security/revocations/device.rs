//! A device that talks until it is cut off: its status, readings, hellos that want receipts; and a last will.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::speaker::held;
use proto::message::{Hello, Notice, Presence, Status};
use proto::{Epoch, Nonce, VERSION};
use rustls::ClientConfig;

use super::CUT_WITHIN;
use crate::certificates::{Outcome, attempt};
use crate::part::Found;
use crate::site::{now_s, pack};
use crate::wire::{self, Heard, Wire, connect, publish, subscribe};

/// From one reading to the next. The oldest unacknowledged one waits no longer than this for company.
const EVERY: Duration = Duration::from_millis(150);
/// Readings until the device gives up waiting to be cut off.
const READINGS_MAX: u64 = 2_000;

/// Who it is.
#[derive(Clone)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) config: Arc<ClientConfig>,
    /// 4 or 5.
    pub(super) version: u8,
}

/// How it went.
pub(super) struct Ended {
    /// When it saw the end; none if it never did.
    pub(super) at: Option<Instant>,
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) receipts: u64,
    /// The reason that it was told, if it was.
    pub(super) reason: Option<Vec<u8>>,
}

impl Device {
    /// Connected, with a last will that no pipeline could read, and listening to all that is for it.
    ///
    /// # Errors
    /// It is not let in.
    pub(super) fn enter(&self, port: u16) -> anyhow::Result<Wire> {
        let Self { name, config, version } = self;
        let mut wire = Wire::open(port, config)?;
        wire.send(&connect(*version, name, Some((&format!("trib/1/{name}/status"), "gone"))))?;
        let heard = wire.hear();
        let is_in = matches!(&heard, Heard::Packet(0x20, body) if body.get(1) == Some(&0));
        anyhow::ensure!(is_in, "{name}: {heard:02x?}");
        let filters = ["receipt", "command"].map(|channel| format!("trib/1/{name}/{channel}"));
        wire.send(&subscribe(*version, 1, &filters))?;
        let heard = wire.hear();
        anyhow::ensure!(matches!(heard, Heard::Packet(0x90, _)), "{name}: {heard:02x?}");
        Ok(wire)
    }

    /// One reading of the second `number` since a day ago, as a packet.
    pub(super) fn reading(&self, number: u64, id: u16) -> Vec<u8> {
        let payload = pack("steady", now_s() / 100_000 * 100_000 - 86_400 + number, number);
        publish(self.version, &format!("trib/1/{}/senml", self.name), Some(id), false, &payload)
    }

    /// A hello that wants a receipt, as a packet.
    pub(super) fn hello(&self, number: u64, id: u16) -> Vec<u8> {
        let held = held(Epoch([7; 8]), [], 1);
        let hello = Hello { nonce: Nonce(number.to_be_bytes()), versions: (1, VERSION), epochs: vec![held] };
        publish(self.version, &format!("trib/1/{}/hello", self.name), Some(id), false, &Notice::Hello(hello).encode())
    }

    /// Talks on a thread of its own, until the end.
    pub(super) fn talk(self, wire: Wire) -> JoinHandle<std::io::Result<Ended>> {
        std::thread::spawn(move || self.talk_on(wire))
    }

    fn talk_on(&self, mut wire: Wire) -> std::io::Result<Ended> {
        let mut ended = Ended { at: None, sent: 0, acknowledged: 0, receipts: 0, reason: None };
        let mut readings = std::collections::BTreeSet::new();
        let status = Status { presence: Presence::Online, at: None, agent: String::new() };
        let topic = format!("trib/1/{}/status", self.name);
        let _ = wire.send(&publish(self.version, &topic, Some(9_999), true, &status.encode()));
        while ended.sent < READINGS_MAX {
            let id = u16::try_from(10 + ended.sent).unwrap_or(u16::MAX);
            readings.insert(id);
            let mut packets = self.reading(ended.sent, id);
            if ended.sent.is_multiple_of(4) {
                packets.extend(self.hello(ended.sent, id + 20_000));
            }
            ended.sent += 1;
            // One that cannot be sent any more shows by what is heard.
            let _ = wire.send(&packets);
            let until = Instant::now() + EVERY;
            while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                match wire.hear_within(left) {
                    Heard::Packet(0x40, body) if body.get(2).is_none_or(|reason| *reason == 0) => {
                        let id = body.get(..2).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
                        ended.acknowledged += u64::from(readings.remove(&id));
                    }
                    Heard::Packet(first, _) if first >> 4 == 3 => ended.receipts += 1,
                    Heard::Packet(0xE0, reason) => ended.reason = Some(reason),
                    Heard::Packet(..) | Heard::Silence => {}
                    Heard::End => {
                        ended.at = Some(Instant::now());
                        return Ok(ended);
                    }
                }
            }
        }
        Ok(ended)
    }

    /// Tries to come in again by `port` until it is refused in the handshake: that is due [`CUT_WITHIN`] after `revoked`, and
    /// sooner only where it was cut off itself.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(super) fn comes_again(&self, port: u16, revoked: Instant, found: &mut Found) -> anyhow::Result<()> {
        let (hello, due) = (connect(5, &self.name, None), Outcome::Alert(44));
        let outcome = loop {
            let is_late = revoked.elapsed() > CUT_WITHIN;
            let outcome = attempt(port, ClientConfig::clone(&self.config), &hello)?;
            if outcome == due || is_late {
                break outcome;
            }
        };
        found.check(outcome == due, || format!("{} comes again: {outcome}", self.name));
        found.count("revoked_refused", usize::from(outcome == due));
        Ok(())
    }
}

/// `count` of them, with certificates of `pki`.
///
/// # Errors
/// A certificate cannot be used.
pub(super) fn devices(pki: &harness::Pki, prefix: &str, count: usize) -> anyhow::Result<Vec<Device>> {
    let device = |place: usize| {
        let name = format!("{prefix}-{place}");
        let config = wire::config(&pki.device(&name))?;
        Ok(Device { name, config, version: if place.is_multiple_of(2) { 5 } else { 4 } })
    };
    (0..count).map(device).collect()
}
