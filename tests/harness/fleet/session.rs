//! One connection of the twin.

use std::io;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{Fault, Shared, Step, TEMPLATE, lock};
use crate::mqtt::{Packet, Stream};

const CREATE: &str = "$aws/certificates/create-from-csr/json";

/// Who is at the other end.
enum Who {
    Nobody,
    Claim,
    Device(String),
}

/// Whether the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    On,
    Silent,
    End,
}

pub(super) struct Session<'a> {
    shared: &'a Shared,
    stream: Stream,
    who: Who,
    filters: Vec<String>,
    is_silent: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(shared: &'a Shared, stream: Stream) -> Self {
        Self { shared, stream, who: Who::Nobody, filters: Vec::new(), is_silent: false }
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        while !self.shared.stop.load(Ordering::Acquire) {
            let Some(packet) = self.stream.poll()? else { continue };
            if self.is_silent {
                continue;
            }
            match self.answer(packet)? {
                Next::On => {}
                Next::Silent => self.is_silent = true,
                Next::End => return Ok(()),
            }
        }
        Ok(())
    }

    fn answer(&mut self, packet: Packet) -> io::Result<Next> {
        match packet {
            Packet::Connect { client, .. } => self.connect(client),
            Packet::Subscribe { id, filters } => self.subscribe(id, filters),
            Packet::Publish { topic, id, payload, .. } => {
                if let Some(id) = id {
                    self.stream.send(&Packet::PubAck(id))?;
                }
                match &self.who {
                    Who::Claim if topic == CREATE => self.create(&payload),
                    Who::Claim if topic == provision() => self.provision(&payload),
                    Who::Device(name) if topic.starts_with(&format!("trib/1/{name}/")) => Ok(Next::On),
                    _ => Ok(Next::End), // as the policy says
                }
            }
            Packet::PingReq => self.stream.send(&Packet::PingResp).map(|()| Next::On),
            Packet::Disconnect => Ok(Next::End),
            _ => Ok(Next::On),
        }
    }

    fn connect(&mut self, client: String) -> io::Result<Next> {
        let certificate = self.stream.peer().unwrap_or_default();
        let (who, step) = if certificate == self.shared.claim {
            (Who::Claim, Step::Connect)
        } else if lock(&self.shared.account).lets_in(&certificate, &client) {
            (Who::Device(client.clone()), Step::OwnConnect)
        } else {
            return Ok(Next::End);
        };
        if let Some(next) = self.stumble(step) {
            return Ok(next);
        }
        if let Who::Device(name) = &who {
            lock(&self.shared.account).connected.push(name.clone());
        }
        self.who = who;
        self.stream.send(&Packet::ConnAck { session_present: false, code: 0 }).map(|()| Next::On)
    }

    fn subscribe(&mut self, id: u16, filters: Vec<(String, u8)>) -> io::Result<Next> {
        let (own, step) = match &self.who {
            Who::Nobody => return Ok(Next::End),
            Who::Claim => (vec![format!("{CREATE}/"), format!("{}/", provision())], Step::Subscribe),
            Who::Device(name) => (vec![format!("trib/1/{name}/")], Step::OwnSubscribe),
        };
        if let Some(next) = self.stumble(step) {
            return Ok(next);
        }
        // Eight filters a SUBSCRIBE are all that AWS IoT Core takes ("Quotas").
        let are_allowed = filters.iter().all(|(filter, _)| own.iter().any(|own| filter.starts_with(own)));
        if !are_allowed || filters.len() > 8 {
            return Ok(Next::End);
        }
        let codes = filters.iter().map(|(_, qos)| (*qos).min(1)).collect();
        self.filters.extend(filters.into_iter().map(|(filter, _)| filter));
        self.stream.send(&Packet::SubAck { id, codes }).map(|()| Next::On)
    }

    fn create(&mut self, payload: &[u8]) -> io::Result<Next> {
        if let Some(next) = self.stumble_or_reject(Step::CreateAsked, CREATE)? {
            return Ok(next);
        }
        let request: Value = serde_json::from_slice(payload)?;
        let csr = request["certificateSigningRequest"].as_str().unwrap_or_default();
        #[expect(clippy::disallowed_methods, reason = "certificates are made for now")]
        let signed = self.shared.authority.sign_csr(csr.as_bytes(), "certificate", 30, SystemTime::now());
        let Ok(leaf) = signed else {
            return self.say(CREATE, "rejected", &rejection(400, "InvalidCertificateSigningRequest", "not a CSR"));
        };
        let made = lock(&self.shared.account).make(leaf.der.to_vec(), leaf.pem);
        if let Some(next) = self.stumble(Step::Created) {
            return Ok(next);
        }
        let answer = json!({
            "certificateId": leaf.record.serial.to_string(),
            "certificatePem": made.pem,
            "certificateOwnershipToken": made.token,
        });
        self.say(CREATE, "accepted", &answer)
    }

    fn provision(&mut self, payload: &[u8]) -> io::Result<Next> {
        let topic = provision();
        if let Some(next) = self.stumble_or_reject(Step::ProvisionAsked, &topic)? {
            return Ok(next);
        }
        let request: Value = serde_json::from_slice(payload)?;
        let thing = request["parameters"]["SerialNumber"].as_str().unwrap_or_default().to_owned();
        let token = request["certificateOwnershipToken"].as_str().unwrap_or_default();
        let takes_used_tokens = lock(&self.shared.script).takes_used_tokens;
        if !lock(&self.shared.account).provision(token, &thing, takes_used_tokens) {
            let words = "Certificate ownership token is not valid.";
            return self.say(&topic, "rejected", &rejection(400, "InvalidCertificateOwnershipToken", words));
        }
        if let Some(next) = self.stumble(Step::Provisioned) {
            return Ok(next);
        }
        self.say(&topic, "accepted", &json!({ "deviceConfiguration": {}, "thingName": thing }))
    }

    fn stumble(&self, step: Step) -> Option<Next> {
        match self.shared.fault_at(step)? {
            Fault::Silence => Some(Next::Silent),
            Fault::Cut | Fault::Reject(..) => Some(Next::End),
        }
    }

    fn stumble_or_reject(&mut self, step: Step, topic: &str) -> io::Result<Option<Next>> {
        match self.shared.fault_at(step) {
            None => Ok(None),
            Some(Fault::Silence) => Ok(Some(Next::Silent)),
            Some(Fault::Cut) => Ok(Some(Next::End)),
            Some(Fault::Reject(status, code, words)) => {
                self.say(topic, "rejected", &rejection(status, code, words)).map(Some)
            }
        }
    }

    /// Answers on `topic`, if it was subscribed before.
    fn say(&mut self, topic: &str, how: &str, answer: &Value) -> io::Result<Next> {
        let topic = format!("{topic}/{how}");
        if !self.filters.contains(&topic) {
            return Ok(Next::On);
        }
        let payload = answer.to_string().into_bytes();
        self.stream.send(&Packet::Publish { topic, id: None, dup: false, retain: false, payload }).map(|()| Next::On)
    }
}

fn provision() -> String {
    format!("$aws/provisioning-templates/{TEMPLATE}/provision/json")
}

fn rejection(status: u16, code: &str, words: &str) -> Value {
    json!({ "statusCode": status, "errorCode": code, "errorMessage": words })
}
