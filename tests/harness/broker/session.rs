//! One connection of the scripted server.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

use proto::message::{Hello, Notice, Receipt};
use proto::{Channel, Nonce, Topic};

use super::{Acks, Answer, FRAMES_MAX, Greeting, Script, Shared, lock};
use crate::device::now_us;
use crate::mqtt::{Packet, Stream};

/// An id that no client of ours ever uses.
const UNKNOWN_ID: u16 = 60_000;

pub(super) struct Session<'a> {
    shared: &'a Shared,
    stream: Stream,
    script: Script,
    device: String,
    packets: usize,
    /// Publishes without their PUBACK, and when they came.
    held: Vec<(u16, Instant)>,
}

impl<'a> Session<'a> {
    pub(super) fn new(shared: &'a Shared, stream: Stream, script: Script) -> Self {
        Self { shared, stream, script, device: String::new(), packets: 0, held: Vec::new() }
    }

    /// Plays the script until the connection ends.
    pub(super) fn run(mut self) -> io::Result<()> {
        while !self.shared.stop.load(Ordering::Acquire) {
            if let Some(packet) = self.stream.poll()? {
                self.packets += 1;
                if packet == Packet::Disconnect || !self.answer(packet)? {
                    return Ok(());
                }
                if self.script.packets_max.is_some_and(|most| self.packets >= most) {
                    return Ok(());
                }
            }
            self.acknowledge()?;
        }
        Ok(())
    }

    /// Answers whether the connection goes on.
    fn answer(&mut self, packet: Packet) -> io::Result<bool> {
        match packet {
            Packet::Connect { client, .. } => {
                self.device = client;
                lock(&self.shared.noted).connects += 1;
                match self.script.greeting {
                    Greeting::Welcome { session_present } => {
                        self.stream.send(&Packet::ConnAck { session_present, code: 0 })?;
                    }
                    Greeting::Refuse(code) => {
                        self.stream.send(&Packet::ConnAck { session_present: false, code })?;
                        return Ok(false);
                    }
                    Greeting::Silence => {}
                }
            }
            Packet::Subscribe { id, filters } => {
                self.stream.send(&Packet::SubAck { id, codes: vec![0; filters.len()] })?;
            }
            Packet::Publish { topic, id, payload, .. } => self.published(&topic, id, payload)?,
            Packet::PingReq => {
                lock(&self.shared.noted).pings += 1;
                self.stream.send(&Packet::PingResp)?;
            }
            _ => {}
        }
        Ok(true)
    }

    fn published(&mut self, topic: &str, id: Option<u16>, payload: Vec<u8>) -> io::Result<()> {
        self.held.extend(id.map(|id| (id, Instant::now())));
        match topic.parse::<Topic>().map(|topic| topic.channel) {
            Ok(Channel::Batch) => {
                let mut noted = lock(&self.shared.noted);
                if noted.frames.len() < FRAMES_MAX {
                    noted.frames.push(payload);
                }
            }
            Ok(Channel::Hello) => {
                lock(&self.shared.noted).hellos += 1;
                if let Ok(Notice::Hello(hello)) = Notice::decode(&payload) {
                    self.greet(&hello)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Answers a hello: a receipt for each epoch that it names.
    fn greet(&mut self, hello: &Hello) -> io::Result<()> {
        let topic = format!("trib/1/{}/receipt", self.device);
        let Nonce(nonce) = hello.nonce;
        let nonce = match self.script.answer {
            Answer::Silence => return Ok(()),
            Answer::StaleNonce => nonce.map(|byte| !byte),
            Answer::NothingSettled | Answer::Garbage => nonce,
        };
        for held in &hello.epochs {
            let receipt = Receipt {
                nonce: Some(Nonce(nonce)),
                gateway_time: proto::Instant(now_us()),
                epoch: held.epoch,
                ranges: Vec::new(),
                continued: false,
                refused: Vec::new(),
                signature: None,
            };
            let garbage = self.script.answer == Answer::Garbage;
            let payload = if garbage { vec![0xff; 40] } else { receipt.encode() };
            let topic = topic.clone();
            self.stream.send(&Packet::Publish { topic, id: None, dup: false, retain: false, payload })?;
        }
        Ok(())
    }

    /// Sends the PUBACKs that are due.
    fn acknowledge(&mut self) -> io::Result<()> {
        let due: Vec<u16> = match self.script.acks {
            Acks::Withheld => return Ok(()),
            Acks::AtOnce => self.held.drain(..).map(|(id, _)| id).collect(),
            Acks::UnknownToo if self.held.is_empty() => return Ok(()),
            Acks::UnknownToo => self.held.drain(..).map(|(id, _)| id).chain([UNKNOWN_ID]).collect(),
            Acks::Twice => self.held.drain(..).flat_map(|(id, _)| [id, id]).collect(),
            Acks::Reversed(count) if self.held.len() < count => return Ok(()),
            Acks::Reversed(_) => self.held.drain(..).rev().map(|(id, _)| id).collect(),
            Acks::Late(delay) => {
                let late = self.held.iter().take_while(|(_, came)| came.elapsed() >= delay).count();
                self.held.drain(..late).map(|(id, _)| id).collect()
            }
        };
        for id in due {
            self.stream.send(&Packet::PubAck(id))?;
            lock(&self.shared.noted).acknowledged += 1;
        }
        Ok(())
    }
}
