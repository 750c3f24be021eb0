use std::time::Instant;

use proto::message::{Held, Hello, Notice, Receipt};
use proto::{Epoch, Nonce, Range};

use super::*;
use crate::Pki;
use crate::mqtt::Packet;

const SOON: Duration = Duration::from_secs(10);

/// A client that has said CONNECT, and what it was answered.
fn connected(broker: &Broker, files: &Files) -> (Stream, Packet) {
    let mut client = Stream::connect(broker.port, files).unwrap();
    client.send(&Packet::Connect { client: "meter-1".into(), clean: true, keep_alive_s: 30 }).unwrap();
    let answer = client.wait(SOON).unwrap();
    (client, answer)
}

fn publish(client: &mut Stream, id: u16, channel: &str, payload: &[u8]) {
    let topic = format!("trib/1/meter-1/{channel}");
    client.send(&Packet::Publish { topic, id: Some(id), dup: false, retain: false, payload: payload.into() }).unwrap();
}

/// The ids of the next `count` acknowledgements.
fn acks(client: &mut Stream, count: usize) -> Vec<u16> {
    let id = |packet| if let Packet::PubAck(id) = packet { id } else { panic!("{packet:?}") };
    (0..count).map(|_| id(client.wait(SOON).unwrap())).collect()
}

#[test]
fn each_script_is_played_and_what_came_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let (broker, device) = (Broker::start(&pki.server()).unwrap(), pki.device("meter-1"));
    let plain = Script::default();

    for (script, expected) in [
        (Acks::AtOnce, vec![1, 2, 3]),
        (Acks::Reversed(3), vec![3, 2, 1]),
        (Acks::Twice, vec![1, 1, 2, 2, 3, 3]),
        (Acks::UnknownToo, vec![1, 60_000, 2, 60_000, 3, 60_000]),
    ] {
        broker.play(Script { acks: script, ..plain });
        let (mut client, answer) = connected(&broker, &device);
        assert_eq!(answer, Packet::ConnAck { session_present: false, code: 0 });
        let mut found = Vec::new();
        for id in 1..=3 {
            publish(&mut client, id, "batch", &[u8::try_from(id).unwrap()]);
            let count = if matches!(script, Acks::Reversed(_)) { 0 } else { expected.len() / 3 };
            found.extend(acks(&mut client, count));
        }
        found.extend(acks(&mut client, expected.len() - found.len()));
        assert_eq!(found, expected, "{script:?}");
        assert_eq!(broker.noted().frames, [[1], [2], [3]]);
    }

    broker.play(Script { acks: Acks::Late(Duration::from_millis(200)), ..plain });
    let (mut client, _) = connected(&broker, &device);
    let began = Instant::now();
    publish(&mut client, 1, "batch", &[]);
    assert_eq!(acks(&mut client, 1), [1]);
    assert!(began.elapsed() >= Duration::from_millis(200));

    broker.play(Script { greeting: Greeting::Refuse(5), ..plain });
    let (mut client, answer) = connected(&broker, &device);
    assert_eq!(answer, Packet::ConnAck { session_present: false, code: 5 });
    assert!(client.wait(SOON).is_err_and(|error| error.kind() != io::ErrorKind::TimedOut), "it closes");

    broker.play(Script { packets_max: Some(2), greeting: Greeting::Welcome { session_present: true }, ..plain });
    let (mut client, answer) = connected(&broker, &device);
    assert_eq!(answer, Packet::ConnAck { session_present: true, code: 0 });
    client.send(&Packet::PingReq).unwrap();
    assert_eq!(client.wait(SOON).unwrap(), Packet::PingResp);
    assert!(client.wait(SOON).is_err_and(|error| error.kind() != io::ErrorKind::TimedOut), "it closes");
}

#[test]
fn a_hello_is_answered_as_the_script_says() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let (broker, device) = (Broker::start(&pki.server()).unwrap(), pki.device("meter-1"));
    let epochs = vec![Held { epoch: Epoch([7; 8]), ranges: vec![Range::one(1)], next: 2 }];
    let hello = Notice::Hello(Hello { nonce: Nonce([9; 8]), versions: (1, 1), epochs }).encode();
    for answer in [Answer::NothingSettled, Answer::StaleNonce, Answer::Garbage, Answer::Silence] {
        broker.play(Script { answer, ..Script::default() });
        let (mut client, _) = connected(&broker, &device);
        publish(&mut client, 1, "hello", &hello);
        let told = match client.wait(SOON).unwrap() {
            Packet::Publish { topic, payload, .. } => {
                assert_eq!(topic, "trib/1/meter-1/receipt");
                Some(
                    Receipt::decode(&payload)
                        .ok()
                        .map(|receipt| (receipt.nonce == Some(Nonce([9; 8])), receipt.ranges)),
                )
            }
            _ => None,
        };
        let expected = match answer {
            Answer::NothingSettled => Some(Some((true, vec![]))),
            Answer::StaleNonce => Some(Some((false, vec![]))),
            Answer::Garbage => Some(None),
            Answer::Silence => None,
        };
        assert_eq!(told, expected, "{answer:?}");
    }
}
