//! An edge node whose birth nobody heard.

use emulators::sparkplug::{Metric, Payload, Value as Said};

use super::*;

/// 2026-03-01T12:00:00Z, in milliseconds.
const NOON_MS: u64 = 1_772_366_400_000;

fn say(node: &mut Device, kind: &str, payload: &Payload) {
    let topic = format!("spBv1.0/plant/{kind}");
    node.send(&Packet::Publish { topic, id: None, dup: false, retain: false, payload: payload.encode() });
}

fn be_born(node: &mut Device) {
    say(node, "NBIRTH/edge", &Payload::new(0, NOON_MS, vec![Metric::birth_number(3)]));
    let metrics = vec![Metric::born("Inputs/Temperature", 1, 3, Said::Int(7))];
    say(node, "DBIRTH/edge/press", &Payload::new(1, NOON_MS, metrics));
    // The broker has taken both when it answers.
    node.send(&Packet::PingReq);
    assert_eq!(node.wait(), Packet::PingResp);
}

#[test]
fn an_edge_node_whose_birth_nobody_heard_is_asked_to_be_born_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(broker) = broker(&folder.path().join("broker")) else { return };
    let mut node = Device::connect(broker.port, "edge");
    node.send(&Packet::Subscribe { id: 1, filters: vec![("spBv1.0/plant/NCMD/edge".into(), 1)] });
    assert!(matches!(node.wait(), Packet::SubAck { .. }));
    be_born(&mut node);

    let none = Files { authority: PathBuf::new(), certificate: PathBuf::new(), key: PathBuf::new() };
    let sources = format!(
        "[[source]]\nname = \"plant\"\ntype = \"mqtt\"\nhost = \"localhost\"\nport = {}\nformat = \"sparkplug_b\"\n\
         [[source.topics]]\nfilter = \"plant/edge/+\"\n\
         series = [{{ metric = \"Inputs/Temperature\", name = \"t.{{1}}\", unit = \"Cel\" }}]\n",
        broker.port
    );
    let mut agent = Agent::new(&folder.path().join("agent"), "meter-7", None, &none, &sources);
    agent.start();
    wait_for("the agent to listen", DEADLINE, || log(&agent).contains("listening").then_some(()));
    say(&mut node, "DDATA/edge/press", &Payload::new(2, NOON_MS, vec![Metric::changed(1, Said::Int(8))]));
    let request = node.wait();
    let Packet::Publish { topic, payload, .. } = request else { panic!("{request:?}") };
    assert_eq!(topic, "spBv1.0/plant/NCMD/edge");
    let name = b"Node Control/Rebirth";
    assert!(payload.windows(name.len()).any(|window| window == name));
    be_born(&mut node);
    say(&mut node, "DDATA/edge/press", &Payload::new(2, NOON_MS, vec![Metric::changed(1, Said::Int(9))]));
    wait_accepted(&agent, 2);
    agent.stop();
    let values: Vec<i64> = accepted(&agent).into_keys().map(|(_, value)| value).collect();
    assert_eq!(values, [7, 9]);
    assert_eq!(rejected(&agent).len(), 1, "{:?}", rejected(&agent));
}
