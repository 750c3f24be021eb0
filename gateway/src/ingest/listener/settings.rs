//! The listener's bounds, each with its reason.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What a [`super::Listener`] allows. Every number bounds memory, time, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen. 8883 is the registered port of MQTT over TLS (IANA: secure-mqtt).
    pub address: SocketAddr,
    /// Connections at once, half-open ones included; more are closed at once. 20 000 at the 50 KiB a session may take
    /// are 1 GiB.
    pub connections_max: usize,
    /// TLS handshakes at once. One more pushes out the oldest as soon as that is stalled, so that stalled ones never keep
    /// a live device out for long; until then it waits in the system's queue.
    pub handshakes_max: usize,
    /// For a whole TLS handshake. Slow links take 2 s; whoever takes longer than 10 s is holding a place.
    pub handshake_deadline: Duration,
    /// From the end of the handshake to the end of CONNECT (MQTT 3.1.1, section 3.1.4: "within a reasonable time").
    pub connect_deadline: Duration,
    /// How long a new connection waits for the one it takes over to end, last will included.
    pub takeover_deadline: Duration,
    /// A connection that was heard this long ago was alive when it lost its place to another. A client that comes again
    /// because its link is dead has waited longer for an answer.
    pub lively: Duration,
    /// The longest keep alive, in seconds, that MQTT 5 clients are told to keep, and the one that clients who name
    /// none are held to. 1200 is what AWS IoT Core allows.
    pub keep_alive_s_max: u16,
    /// Publishes at QoS 1 of one connection that wait for their PUBACK; beyond it the socket is not read, pings included.
    /// More than an agent has under way when nothing is answered for long: the frames of its largest window (32), a burst
    /// of notices of gaps (16), and the hellos by which it asks again (12).
    pub receive_max: u16,
    /// Bytes of all connections together that wait for room in the pipeline, beyond the last publish of each. Some 60 000
    /// small frames, or 500 of 128 KiB.
    pub held_bytes_max: u32,
    /// The largest packet, fixed header included: a frame of `FRAME_BYTES_MAX`, and 2 KiB for topic and properties.
    pub packet_bytes_max: usize,
    /// The largest packet that is not a PUBLISH. A CONNECT with client id, user name, token and will takes less than
    /// 4 KiB; parsed, such packets take up to 30 times their size for a moment.
    pub control_bytes_max: usize,
    /// Packets a second of one device, ten seconds of them at once; beyond it publishes are refused with a reason (MQTT 5,
    /// QoS 1), and the device is not read from for a while. An agent packs what waits into frames, a few a second.
    pub device_publishes_per_s_max: u32,
    /// Bytes a second of one device, in the same way. A million readings of 20 series, sealed each second, are some 45 MiB:
    /// they pass at once.
    pub device_bytes_per_s_max: u32,
    /// Bytes that wait to be written to one client; beyond it nothing more is taken on for it.
    pub write_bytes_max: usize,
    /// For a client to take what is written to it.
    pub write_deadline: Duration,
    /// For a last packet to reach a client that is being closed: it must be written, and read before what the client
    /// still sends makes the system reset the connection.
    pub farewell_deadline: Duration,
    /// For outstanding verdicts when the listener stops.
    pub stop_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8883)),
            connections_max: 20_000,
            handshakes_max: 1_024,
            handshake_deadline: Duration::from_secs(10),
            connect_deadline: Duration::from_secs(5),
            takeover_deadline: Duration::from_secs(5),
            lively: Duration::from_secs(5),
            keep_alive_s_max: 1_200,
            receive_max: 64,
            held_bytes_max: 64 * 1024 * 1024,
            packet_bytes_max: proto::FRAME_BYTES_MAX + 2 * 1024,
            control_bytes_max: 8 * 1024,
            device_publishes_per_s_max: 1_000,
            device_bytes_per_s_max: 8 * 1024 * 1024,
            write_bytes_max: 64 * 1024,
            write_deadline: Duration::from_secs(30),
            farewell_deadline: Duration::from_secs(1),
            stop_grace: Duration::from_secs(3),
        }
    }
}
