//! Why the agent's source of local MQTT has a client of its own: what rumqttc does with a message that is over its limit.
//!
//! Should this test fail one day, rumqttc has learned to pass such a message, and the client in
//! `agent/src/source/mqtt/{packet,session,link,run}.rs` is to be looked at anew.

use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS, StateError};
use tokio::time::timeout;

use super::{DEADLINE, Device, broker};

/// What the client takes, and how often it connects anew.
const PACKET_BYTES_MAX: usize = 1_024;
const CONNECTIONS: usize = 5;

/// A client that keeps its session and is there for the broker again and again.
fn client(port: u16) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("library", "127.0.0.1", port);
    options.set_clean_session(false).set_manual_acks(true).set_keep_alive(Duration::from_secs(5));
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    AsyncClient::new(options, 10)
}

async fn next(events: &mut EventLoop) -> Result<Event, ConnectionError> {
    timeout(DEADLINE, events.poll()).await.expect("an event within the deadline")
}

#[tokio::test]
async fn rumqttc_never_gets_past_a_message_that_is_over_its_limit_and_so_hears_nothing_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(broker) = broker(folder.path()) else { return };
    let (client, mut events) = client(broker.port);
    client.subscribe("home/+", QoS::AtLeastOnce).await.unwrap();
    while !matches!(next(&mut events).await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    let mut device = Device::connect(broker.port, "sensor");
    device.publish("home/a", vec![b'x'; 4 * PACKET_BYTES_MAX]);
    device.publish("home/a", "{\"n\":1}");
    for connection in 0..CONNECTIONS {
        let error = loop {
            match next(&mut events).await {
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    panic!("connection {connection} brought {} bytes: see the head of this file", publish.payload.len())
                }
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        let is_limit = matches!(&error, ConnectionError::MqttState(StateError::Deserialization(_)));
        assert!(is_limit, "connection {connection} ended otherwise: {error}");
        assert!(error.to_string().contains("size"), "{error}");
    }
}
