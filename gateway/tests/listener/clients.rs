//! Clients that others have written.

use std::path::PathBuf;
use std::process::Stdio;

use bytes::Bytes;
use proto::Channel;
use rumqttc::{TlsConfiguration, Transport};
use tokio::process::Command;
use tokio::time::timeout;
use tributary_gateway::ingest::Verdict;

use crate::rig::{PATIENCE, Rig, topic};

fn transport(rig: &Rig) -> Transport {
    Transport::Tls(TlsConfiguration::Rustls(rig.pki.client(Some(rig.pki.device("meter-7")))))
}

#[tokio::test]
async fn rumqttc_with_mqtt_3_1_1_publishes_is_acknowledged_and_hears_a_receipt() {
    use rumqttc::{AsyncClient, Event, LastWill, MqttOptions, Packet, QoS};
    let mut rig = Rig::start().await;
    let mut options = MqttOptions::new("meter-7", "localhost", rig.address.port());
    options.set_transport(transport(&rig)).set_max_packet_size(200_000, 200_000);
    options.set_last_will(LastWill::new(topic("meter-7", Channel::Status), "gone", QoS::AtLeastOnce, true));
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe(topic("meter-7", Channel::Receipt), QoS::AtLeastOnce).await.unwrap();
    client.publish(topic("meter-7", Channel::Status), QoS::AtLeastOnce, true, "here").await.unwrap();
    client.publish(topic("meter-7", Channel::Batch), QoS::AtLeastOnce, false, vec![7; 128 * 1024]).await.unwrap();
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::Publish(publish))) => return (heard, publish.payload),
                Ok(Event::Incoming(packet)) => heard.push(packet),
                Ok(Event::Outgoing(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    let link = rig.opened().await;
    let (status, batch) = (rig.arrived().await, rig.arrived().await);
    assert_eq!((status.channel, batch.channel), (Channel::Status, Channel::Batch));
    assert_eq!(batch.payload, vec![7; 128 * 1024]);
    status.ticket.settle(Verdict::Settled);
    batch.ticket.settle(Verdict::Settled);
    assert!(link.send(Channel::Receipt, Bytes::from_static(b"settled")));
    let (heard, receipt) = timeout(PATIENCE, heard).await.unwrap().unwrap();
    assert_eq!(receipt, b"settled"[..]);
    assert!(matches!(heard[..2], [Packet::ConnAck(_), Packet::SubAck(_)]), "{heard:?}");
    assert_eq!(rig.arrived().await.payload, b"gone"[..], "the last will, since the client was dropped");
    rig.stop().await;
}

#[tokio::test]
async fn rumqttc_with_mqtt_5_reads_our_limits_and_reason_codes() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};
    let mut rig = Rig::start().await;
    let mut options = MqttOptions::new("meter-7", "localhost", rig.address.port());
    options.set_transport(transport(&rig));
    let (client, mut events) = AsyncClient::new(options, 10);
    client.publish(topic("meter-8", Channel::Batch), QoS::AtLeastOnce, false, "x").await.unwrap();
    client.publish(topic("meter-7", Channel::Batch), QoS::AtLeastOnce, false, "y").await.unwrap();
    let polled = async {
        let mut incoming = Vec::new();
        while incoming.len() < 3 {
            if let Event::Incoming(packet) = events.poll().await.unwrap() {
                incoming.push(packet);
            }
        }
        incoming
    };
    let settle = async {
        rig.opened().await;
        rig.arrived().await.ticket.settle(Verdict::Settled);
    };
    let (incoming, ()) = timeout(PATIENCE, async { tokio::join!(polled, settle) }).await.unwrap();
    let [Packet::ConnAck(connack), Packet::PubAck(denied), Packet::PubAck(taken)] = &incoming[..] else {
        panic!("{incoming:?}");
    };
    let limits = connack.properties.as_ref().unwrap();
    assert_eq!((limits.receive_max, limits.max_qos, limits.max_packet_size), (Some(64), Some(1), Some(130 * 1024)));
    assert_eq!((denied.reason, taken.reason), (PubAckReason::NotAuthorized, PubAckReason::Success));
    rig.stop().await;
}

/// A mosquitto command with the address and the certificate of meter-7, or why there is none.
fn mosquitto(rig: &Rig, name: &str) -> Option<Command> {
    let folders = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>())?;
    let Some(program) = folders.into_iter().map(|folder| folder.join(name)).find(|path: &PathBuf| path.exists()) else {
        eprintln!("skipped: {name} is not installed (Debian: mosquitto-clients)");
        return None;
    };
    let meter = rig.pki.device("meter-7");
    let mut command = Command::new(program);
    command.args(["-h", "localhost", "-p", &rig.address.port().to_string()]);
    command.arg("--cafile").arg(rig.pki.root_file());
    command.arg("--cert").arg(meter.certificate_file).arg("--key").arg(meter.key_file);
    command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

#[tokio::test]
async fn mosquitto_pub_succeeds_when_its_publish_is_settled_and_fails_under_another_id() {
    for version in ["mqttv311", "mqttv5"] {
        let mut rig = Rig::start().await;
        let Some(mut command) = mosquitto(&rig, "mosquitto_pub") else { return };
        command.args(["-i", "meter-7", "-V", version, "-q", "1", "-m", "hello", "-t", "trib/1/meter-7/senml"]);
        let publishing = command.spawn().unwrap();
        rig.opened().await;
        let arrival = rig.arrived().await;
        assert_eq!((arrival.channel, &arrival.payload[..]), (Channel::Senml, &b"hello"[..]));
        arrival.ticket.settle(Verdict::Settled);
        let output = timeout(PATIENCE, publishing.wait_with_output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        let Some(mut command) = mosquitto(&rig, "mosquitto_pub") else { return };
        command.args(["-i", "someone", "-V", version, "-q", "1", "-m", "hello", "-t", "trib/1/meter-7/senml"]);
        let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        assert!(!output.status.success());
        rig.stop().await;
    }
}

#[tokio::test]
async fn mosquitto_sub_hears_a_command() {
    for version in ["mqttv311", "mqttv5"] {
        let mut rig = Rig::start().await;
        let Some(mut command) = mosquitto(&rig, "mosquitto_sub") else { return };
        command.args(["-i", "meter-7", "-V", version, "-C", "1", "-W", "5", "-t", "trib/1/meter-7/command"]);
        let mut listening = command.spawn().unwrap();
        let link = rig.opened().await;
        // It may not have subscribed yet, and a message to nobody is skipped.
        let status = loop {
            link.send(Channel::Command, Bytes::from_static(b"blink"));
            if let Ok(status) = timeout(std::time::Duration::from_millis(20), listening.wait()).await {
                break status.unwrap();
            }
        };
        let output = timeout(PATIENCE, listening.wait_with_output()).await.unwrap().unwrap();
        assert!(status.success() && output.stdout == b"blink\n", "{output:?}");
        rig.stop().await;
    }
}
