//! What is said to a broker and heard of it, without any input or output: bytes and the time go in; bytes to write, a
//! deadline and batches to be stored come out.
//!
//! A message at QoS 1 is acknowledged when [`Session::stored`] says that its batch is safe, and never before. What the
//! broker sends again is known by [`Recent`].

use std::time::Duration;

use proto::Instant;
use tracing::warn;
use zeroize::Zeroizing;

use super::batch::Batch;
use super::mapping::Topics;
use super::packet::{self, PING, Packet, Reader};
use super::recent::Recent;
use super::sparkplug::Sparkplug;
use crate::source::SourceName;
use crate::source::device::Now;

mod messages;

/// How long the broker may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What messages are read as.
#[derive(Debug)]
pub(super) enum Content {
    Topics(Topics),
    Sparkplug(Sparkplug),
}

/// What is told to the broker, and how often.
pub(super) struct Manner {
    /// CONNECT, whole: it may hold a password.
    pub(super) greeting: Zeroizing<Vec<u8>>,
    pub(super) filters: Vec<String>,
    /// Whether the broker keeps messages while we are away.
    pub(super) keeps: bool,
    pub(super) keep_alive: Duration,
    pub(super) payload_bytes_max: usize,
    /// Whether messages that the broker had kept are taken; left out, those with a time of their own are.
    pub(super) retained: Option<bool>,
}

/// One source's side of the conversation, over all its connections.
pub(super) struct Session {
    name: SourceName,
    manner: Manner,
    content: Content,
    reader: Reader,
    stage: Stage,
    recent: Recent,
    batch: Batch,
    write: Vec<u8>,
    /// When something is to be done.
    deadline: Instant,
    /// Whether an answer is awaited since the last deadline.
    awaits: bool,
    /// Messages of topics that were not asked for.
    strays: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Subscribing,
    Up,
}

impl Session {
    /// A session that goes on from what `cursor` says was taken.
    pub(super) fn new(name: SourceName, manner: Manner, content: Content, cursor: Option<&[u8]>) -> Self {
        let recent = cursor.map(Recent::decode);
        if recent == Some(None) {
            warn!(source = %name, "what was taken last is not readable; the broker's last messages may be taken again");
        }
        let recent = recent.flatten().unwrap_or_default();
        let (reader, batch, write) = (Reader::new(manner.payload_bytes_max), Batch::default(), Vec::new());
        let (stage, deadline) = (Stage::Greeting, Instant(0));
        Self { name, manner, content, reader, stage, recent, batch, write, deadline, awaits: true, strays: 0 }
    }

    /// A connection stands.
    pub(super) fn opened(&mut self, now: Now) {
        self.reader = Reader::new(self.manner.payload_bytes_max);
        self.write = self.manner.greeting.to_vec();
        self.stage = Stage::Greeting;
        self.recent.connected();
        // What is not stored yet is sent again by the broker; what is, is not here any more.
        self.batch = Batch::default();
        self.await_answer(now);
    }

    /// Whether messages may come.
    pub(super) fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// Bytes came.
    ///
    /// # Errors
    /// What is wrong, where the connection is of no more use.
    pub(super) fn heard(&mut self, bytes: &[u8], now: Now) -> Result<(), String> {
        self.reader.push(bytes);
        if self.is_up() {
            self.awaits = false;
            self.deadline = now.after(self.manner.keep_alive * 3 / 4);
        }
        self.read_on(now)
    }

    /// Reads what has come, up to a full batch. To be called again once that is stored.
    ///
    /// # Errors
    /// As [`Self::heard`].
    pub(super) fn read_on(&mut self, now: Now) -> Result<(), String> {
        let more = match &self.content {
            Content::Topics(topics) => topics.readings_max(),
            Content::Sparkplug(sparkplug) => sparkplug.readings_max(),
        };
        loop {
            if self.batch.is_full(more) {
                if !self.batch.is_empty() {
                    return Ok(());
                }
                self.acknowledge();
            }
            let Some(packet) = self.reader.next()? else { break };
            match (self.stage, packet) {
                (Stage::Greeting, Packet::ConnAck { session_present, code }) => {
                    self.welcome(session_present, code, now)?;
                }
                (Stage::Greeting, _) => return Err("the broker says something before its welcome".into()),
                (Stage::Subscribing, Packet::SubAck(codes)) => self.subscribed(&codes, now)?,
                // A session that was there before goes on at once.
                (_, Packet::Publish(publish)) => self.message(&publish, now),
                (_, Packet::Pong) => self.recent.ponged(),
                _ => {}
            }
        }
        if self.batch.is_empty() {
            self.acknowledge();
        }
        Ok(())
    }

    /// The deadline has passed.
    ///
    /// # Errors
    /// As [`Self::heard`].
    pub(super) fn due(&mut self, now: Now) -> Result<(), String> {
        if now.boot < self.deadline {
            return Ok(());
        }
        if self.awaits {
            return Err("the broker does not answer".into());
        }
        self.ping();
        self.await_answer(now);
        Ok(())
    }

    fn ping(&mut self) {
        self.write.extend(PING);
        self.recent.pinged();
    }

    /// Pings were sent while a batch was stored.
    pub(super) fn pinged(&mut self, count: u32) {
        (0..count).for_each(|_| self.recent.pinged());
    }

    /// When [`Self::due`] is to be called, since boot.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A ping while a batch is stored: what answers it is read afterwards.
    pub(super) fn ping_every(&self) -> Duration {
        self.manner.keep_alive / 2
    }

    /// What is to be sent.
    pub(super) fn take_write(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.write)
    }

    /// What is to be stored, if there is something; with the cursor that belongs to it.
    pub(super) fn take_batch(&mut self) -> Option<(Batch, Vec<u8>)> {
        if self.batch.is_empty() {
            return None;
        }
        let batch = std::mem::take(&mut self.batch);
        self.batch.acks.clone_from(&batch.acks);
        Some((batch, self.recent.encode()))
    }

    /// What [`Self::take_batch`] gave is safe.
    pub(super) fn stored(&mut self, now: Now) {
        self.acknowledge();
        self.deadline = self.deadline.max(now.after(ANSWER_TIME));
    }

    fn acknowledge(&mut self) {
        let acks = std::mem::take(&mut self.batch.acks);
        self.write.extend(acks.iter().flat_map(|id| packet::acknowledge(*id)));
        self.recent.said(&acks);
        if self.recent.wants_ping() {
            self.ping();
        }
    }

    fn await_answer(&mut self, now: Now) {
        self.awaits = true;
        self.deadline = now.after(ANSWER_TIME);
    }

    fn welcome(&mut self, session_present: bool, code: u8, now: Now) -> Result<(), String> {
        match code {
            0 => {}
            1 => return Err("the broker does not speak MQTT 3.1.1".into()),
            2 => return Err("the broker does not take this client id; set another `client_id`".into()),
            3 => return Err("the broker is not available".into()),
            4 => return Err("the broker does not know user or password; check `user` and `password_file`".into()),
            _ => {
                return Err("the broker does not let this user in; check `user`, `password_file` and its rights".into());
            }
        }
        let filters = self.filters_hash();
        if session_present && self.recent.filters == filters && self.manner.keeps {
            // Subscribing again would bring what it retained once more.
            self.up(now);
            return Ok(());
        }
        if !session_present {
            if self.manner.keeps && self.recent.filters != 0 {
                let lost = "the broker has forgotten the session: what was published while this agent was away is lost";
                self.batch.reject("(all)", lost, &[]);
            }
            self.recent.forget();
        }
        self.stage = Stage::Subscribing;
        self.write.extend(packet::subscribe(self.manner.filters.iter().map(String::as_str)));
        self.await_answer(now);
        Ok(())
    }

    fn subscribed(&mut self, codes: &[u8], now: Now) -> Result<(), String> {
        let refused = self.manner.filters.iter().zip(codes).find(|(_, code)| **code > 2);
        if let Some((filter, _)) = refused {
            return Err(format!("the broker does not let this user read `{filter}`; check its rights"));
        }
        if codes.len() != self.manner.filters.len() {
            return Err("the broker's answer is not about what was asked for".into());
        }
        if codes.contains(&0) {
            warn!(source = %self.name, "the broker delivers at QoS 0: what comes while this agent is away is lost");
        }
        self.recent.filters = self.filters_hash();
        self.batch.note = self.manner.keeps;
        self.up(now);
        Ok(())
    }

    fn up(&mut self, now: Now) {
        self.stage = Stage::Up;
        self.awaits = false;
        self.deadline = now.after(self.manner.keep_alive * 3 / 4);
    }

    fn filters_hash(&self) -> u64 {
        let filters: Vec<&[u8]> = self.manner.filters.iter().map(String::as_bytes).collect();
        Recent::hash(&filters).max(1)
    }
}
