//! By contract with the API reference, where moto is laxer or cannot fail: the same request makes another certificate
//! each time, connections end before and after a call is done, calls are throttled and denied.

use std::time::{Duration, Instant};

use certs::authority::Reason;
use gateway::enrol::authority::{Authority as _, AuthorityError};

use super::account::{Account, Trouble};
use super::{authority, now, request};
use crate::http::{Reply, Server};

/// Calls of one issue: thing, list, sign, attach twice, activate.
const CALLS: usize = 6;

fn serve(account: &Account) -> Server {
    let account = account.clone();
    Server::start(move |request| account.answer(&request))
}

#[test]
fn an_issue_that_ends_at_any_call_is_gone_on_with_and_the_thing_has_one_active_certificate() {
    let cases = (0..CALLS).flat_map(|from| [(from, Trouble::Before), (from, Trouble::After)]);
    // Each waits for the SDK's own attempts: all at once.
    let runs: Vec<_> =
        cases.map(|(from, trouble)| std::thread::spawn(move || (from, trouble, cut_at(from, trouble)))).collect();
    for run in runs {
        let (from, trouble, orphans) = run.join().unwrap();
        println!("cut off {trouble:?} call {from} was done: {orphans} inactive certificates are left");
        // Only where the answer to the signing itself is lost, once for each attempt, or nothing can be done after it.
        let lost = match (from, trouble) {
            (2, Trouble::After) => 3,
            (3, Trouble::Before) => 1,
            _ => 0,
        };
        assert_eq!(orphans, lost, "cut off {trouble:?} call {from} was done");
    }
}

/// Has one issued while all is cut off after so many calls, then again by another process; how many inactive
/// certificates are left.
fn cut_at(from: usize, trouble: Trouble) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let account = Account::new(&folder.path().join("amazon"));
    let server = serve(&account);
    let (device, request) = ("meter-7".parse().unwrap(), request("meter-7"));
    account.held.lock().unwrap().trouble = Some((from..usize::MAX, trouble));
    let error = authority(&server.url(), folder.path()).issue(&device, &request, now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Away(_)), "{error}");
    assert!(trouble == Trouble::After || account.active("meter-7").is_empty());
    account.held.lock().unwrap().trouble = None;
    let issued = authority(&server.url(), folder.path()).issue(&device, &request, now()).unwrap();
    let active = account.active("meter-7");
    assert_eq!(active.len(), 1, "cut off {trouble:?} call {from} was done");
    let held = account.held.lock().unwrap();
    assert_eq!(held.certificates[&active[0]].pem.as_bytes(), issued.chain);
    assert!(held.policies.contains(&active[0]));
    assert_eq!(held.things["meter-7"].len(), 1, "the thing has no other");
    held.certificates.len() - 1
}

#[test]
fn a_certificate_that_cannot_be_attached_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let account = Account::new(&folder.path().join("amazon"));
    let server = serve(&account);
    account.held.lock().unwrap().trouble = Some((3..4, Trouble::Denied));
    let device = "meter-7".parse().unwrap();
    authority(&server.url(), folder.path()).issue(&device, &request("meter-7"), now()).unwrap_err();
    assert_eq!(account.held.lock().unwrap().calls, 5, "thing, list, sign, attach, delete");
    assert!(account.held.lock().unwrap().certificates.is_empty());
}

#[test]
fn a_certificate_that_was_revoked_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let account = Account::new(&folder.path().join("amazon"));
    let server = serve(&account);
    let mut aws = authority(&server.url(), folder.path());
    let (device, request) = ("meter-7".parse().unwrap(), request("meter-7"));
    let first = aws.issue(&device, &request, now()).unwrap();
    assert_eq!(aws.issue(&device, &request, now()).unwrap(), first, "asked again, it is the same");
    for held in aws.certificates(&device).unwrap() {
        aws.revoke(&held, Reason::KeyCompromise, now()).unwrap();
    }
    assert_eq!(account.active("meter-7").len(), 0);
    // Revoked and still attached, as after a revocation that ended half way.
    let arns: Vec<String> = account.held.lock().unwrap().certificates.keys().cloned().collect();
    account.held.lock().unwrap().things.get_mut("meter-7").unwrap().extend(arns);
    let second = aws.issue(&device, &request, now()).unwrap();
    assert_ne!(second.serial, first.serial);
    assert_eq!(account.active("meter-7").len(), 1);
}

#[test]
fn a_revocation_that_ends_at_any_call_is_ended_by_saying_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<_> = (0..3)
        .map(|from| {
            let folder = folder.path().join(from.to_string());
            std::fs::create_dir(&folder).unwrap();
            std::thread::spawn(move || {
                let account = Account::new(&folder.join("amazon"));
                let server = serve(&account);
                let mut aws = authority(&server.url(), &folder);
                let device = "meter-7".parse().unwrap();
                aws.issue(&device, &request("meter-7"), now()).unwrap();
                let held = aws.certificates(&device).unwrap().remove(0);
                let calls = account.held.lock().unwrap().calls;
                account.held.lock().unwrap().trouble = Some((calls + from..usize::MAX, Trouble::Before));
                aws.revoke(&held, Reason::KeyCompromise, now()).unwrap_err();
                account.held.lock().unwrap().trouble = None;
                let mut again = authority(&server.url(), &folder);
                for held in again.certificates(&device).unwrap() {
                    again.revoke(&held, Reason::KeyCompromise, now()).unwrap();
                }
                let held = account.held.lock().unwrap();
                assert!(held.certificates.values().all(|made| made.status == "REVOKED"), "ended at call {from}");
                assert!(held.things["meter-7"].is_empty() && held.policies.is_empty(), "ended at call {from}");
            })
        })
        .collect();
    runs.into_iter().for_each(|run| run.join().unwrap());
}

#[test]
fn what_may_pass_is_told_from_what_the_operator_must_change_and_nobody_waits_for_a_service_that_is_away() {
    // Its deadlines take their time.
    let silent = std::thread::spawn(nobody_waits_for_one_that_is_silent);
    let folder = tempfile::tempdir().unwrap();
    let account = Account::new(&folder.path().join("amazon"));
    let server = serve(&account);
    let device = "meter-7".parse().unwrap();
    let issue = |trouble| {
        account.held.lock().unwrap().trouble = Some((0..usize::MAX, trouble));
        authority(&server.url(), folder.path()).issue(&device, &request("meter-7"), now()).unwrap_err()
    };
    let error = issue(Trouble::Denied);
    assert!(
        matches!(error, AuthorityError::Unfit(_)) && error.to_string().contains("credentials must allow"),
        "{error}"
    );
    let error = issue(Trouble::Throttled);
    assert!(matches!(error, AuthorityError::Away(_)) && error.to_string().contains("Rate exceeded"), "{error}");
    silent.join().unwrap();
}

/// Asks a service that takes the connection and says nothing: until a deadline, and then not again so soon.
fn nobody_waits_for_one_that_is_silent() {
    let (folder, device) = (tempfile::tempdir().unwrap(), "meter-7".parse().unwrap());
    let silent = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(60));
        Reply::Cut
    });
    let mut aws = authority(&silent.url(), folder.path());
    let began = Instant::now();
    let error = aws.issue(&device, &request("meter-7"), now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Away(_)) && began.elapsed() < Duration::from_secs(20), "{error}");
    let began = Instant::now();
    let error = aws.issue(&device, &request("meter-7"), now()).unwrap_err();
    assert!(error.to_string().contains("has just failed") && began.elapsed() < Duration::from_secs(1), "{error}");
}
