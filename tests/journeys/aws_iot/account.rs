//! The service as its API reference describes it: things, certificates, policies, and what it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use certs::Authority;
use serde_json::{Value, json};

use super::{POLICY, now};
use crate::http::{Reply, Request};

/// A certificate of the account.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) pem: String,
    pub(super) status: String,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The connection ends; nothing is done.
    Before,
    /// The connection ends; it is done.
    After,
    /// Too much at once.
    Throttled,
    /// The role lacks a right.
    Denied,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    /// By ARN.
    pub(super) certificates: BTreeMap<String, Made>,
    pub(super) things: BTreeMap<String, BTreeSet<String>>,
    pub(super) policies: BTreeSet<String>,
    pub(super) calls: usize,
    /// The calls that it befalls, counted from 0.
    pub(super) trouble: Option<(Range<usize>, Trouble)>,
}

/// The account. Clones are the same.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) held: Arc<Mutex<Held>>,
    authority: Arc<Authority>,
}

impl Account {
    pub(super) fn new(folder: &std::path::Path) -> Self {
        let authority = Authority::create(folder, "Amazon", 60, now()).unwrap();
        Self { held: Arc::default(), authority: Arc::new(authority) }
    }

    /// Active certificates of `thing`.
    pub(super) fn active(&self, thing: &str) -> Vec<String> {
        let held = self.held.lock().unwrap();
        let arns = held.things.get(thing).cloned().unwrap_or_default();
        arns.into_iter().filter(|arn| held.certificates[arn].status == "ACTIVE").collect()
    }

    pub(super) fn answer(&self, request: &Request) -> Reply {
        let mut held = self.held.lock().unwrap();
        held.calls += 1;
        let call = held.calls - 1;
        match held.trouble.clone() {
            Some((calls, trouble)) if calls.contains(&call) => match trouble {
                Trouble::Before => Reply::Cut,
                Trouble::After => {
                    self.done(&mut held, request);
                    Reply::Cut
                }
                Trouble::Throttled => refusal(400, "ThrottlingException", "Rate exceeded"),
                Trouble::Denied => refusal(403, "AccessDeniedException", "User is not authorized"),
            },
            _ => self.done(&mut held, request),
        }
    }

    fn done(&self, held: &mut Held, request: &Request) -> Reply {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let principal = request.header("x-amzn-principal").unwrap_or_default().to_owned();
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["things", thing]) => {
                held.things.entry((*thing).to_owned()).or_default();
                said(&json!({ "thingName": thing }))
            }
            ("GET", ["things", thing, "principals"]) => match held.things.get(*thing) {
                Some(arns) => said(&json!({ "principals": arns })),
                None => missing(),
            },
            ("PUT", ["things", thing, "principals"]) => {
                held.things.get_mut(*thing).unwrap().insert(principal);
                said(&json!({}))
            }
            ("DELETE", ["things", thing, "principals"]) => {
                held.things.get_mut(*thing).unwrap().remove(&principal);
                said(&json!({}))
            }
            ("POST", ["certificates"]) => self.sign(held, &body, query),
            ("GET", ["certificates", id]) => match held.certificates.get(&arn(id)) {
                Some(Made { pem, status }) => said(&json!({ "certificateDescription":
                    { "certificateArn": arn(id), "certificateId": id, "certificatePem": pem, "status": status } })),
                None => missing(),
            },
            ("PUT", ["certificates", id]) => update(held, &arn(id), query.strip_prefix("newStatus=").unwrap()),
            ("DELETE", ["certificates", id]) => delete(held, &arn(id)),
            ("PUT", ["target-policies", policy]) if *policy == POLICY => {
                held.policies.insert(body["target"].as_str().unwrap().to_owned());
                said(&json!({}))
            }
            ("POST", ["target-policies", _]) => {
                held.policies.remove(body["target"].as_str().unwrap());
                said(&json!({}))
            }
            _ => panic!("{} {}", request.method, request.target),
        }
    }

    /// "Reusing the same certificate signing request (CSR) results in a distinct certificate."
    fn sign(&self, held: &mut Held, body: &Value, query: &str) -> Reply {
        assert_eq!(query, "setAsActive=false", "it lets nobody in before all is done");
        let csr = body["certificateSigningRequest"].as_str().unwrap();
        let leaf = self.authority.sign_csr(csr.as_bytes(), "certificate", 30, now()).unwrap();
        let (id, pem) = (leaf.record.serial.to_string().repeat(2), leaf.pem);
        held.certificates.insert(arn(&id), Made { pem: pem.clone(), status: "INACTIVE".into() });
        said(&json!({ "certificateArn": arn(&id), "certificateId": id, "certificatePem": pem }))
    }
}

fn update(held: &mut Held, arn: &str, status: &str) -> Reply {
    let made = held.certificates.get_mut(arn).unwrap();
    // "Once a certificate is revoked, its status can't be changed."
    if made.status == "REVOKED" && status != "REVOKED" {
        return refusal(400, "InvalidRequestException", "the certificate is revoked");
    }
    made.status = status.to_owned();
    said(&json!({}))
}

/// A certificate must be inactive and have neither policy nor thing.
fn delete(held: &mut Held, arn: &str) -> Reply {
    let is_attached = held.policies.contains(arn) || held.things.values().any(|arns| arns.contains(arn));
    if is_attached || held.certificates.get(arn).is_some_and(|made| made.status == "ACTIVE") {
        return refusal(409, "DeleteConflictException", "things must be detached before deletion");
    }
    held.certificates.remove(arn);
    said(&json!({}))
}

fn arn(id: &str) -> String {
    format!("arn:aws:iot:us-east-1:123456789012:cert/{id}")
}

fn said(answer: &Value) -> Reply {
    Reply::Answer(200, answer.to_string())
}

fn missing() -> Reply {
    refusal(404, "ResourceNotFoundException", "it is not there")
}

fn refusal(status: u16, code: &str, message: &str) -> Reply {
    Reply::Answer(status, json!({ "__type": code, "message": message }).to_string())
}
