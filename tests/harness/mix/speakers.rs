//! Programs that hand readings over by themselves: at a broker, at a socket, as files, to a site.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use emulators::nightscout::{Collection, Site};

use super::paced::wave;
use crate::mqtt::Packet;

/// How long an answer may take before the speaker tries anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// Speaks once a second, and is told how often it did.
pub(super) trait Speaker: Send {
    fn speak(&mut self, count: u32) -> std::io::Result<()>;
}

/// Five sensors at a broker, each with one message a second at QoS 1.
pub(super) struct Publisher {
    pub(super) port: u16,
    pub(super) stream: Option<TcpStream>,
}

impl Speaker for Publisher {
    fn speak(&mut self, count: u32) -> std::io::Result<()> {
        let connect = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let hello = Packet::Connect { client: "sensors".into(), clean: true, keep_alive_s: 0 };
            stream.write_all(&hello.encode())?;
            std::io::Read::read_exact(&mut stream, &mut [0; 4])?;
            Ok::<_, std::io::Error>(stream)
        };
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect()?,
        };
        for sensor in 0..5_u16 {
            let payload = format!("{{\"temperature\":{}.{},\"battery\":97}}", 18 + sensor, wave(count) % 10);
            let (topic, id) = (format!("zigbee2mqtt/sensor-{sensor}"), Some(sensor + 1));
            let message = Packet::Publish { topic, id, dup: false, retain: false, payload: payload.into() };
            stream.write_all(&message.encode())?;
            std::io::Read::read_exact(&mut stream, &mut [0; 4])?; // PUBACK
        }
        self.stream = Some(stream);
        Ok(())
    }
}

/// A program that waits until its record is stored.
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) stream: Option<BufReader<UnixStream>>,
}

impl Speaker for Program {
    fn speak(&mut self, count: u32) -> std::io::Result<()> {
        let connect = || {
            let stream = UnixStream::connect(&self.path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok::<_, std::io::Error>(BufReader::new(stream))
        };
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect()?,
        };
        let value = wave(count);
        writeln!(stream.get_mut(), "{{\"a\":{value},\"b\":{value}.5,\"c\":1,\"d\":2,\"e\":3}}")?;
        stream.read_line(&mut String::new())?;
        self.stream = Some(stream);
        Ok(())
    }
}

/// A logger that renames a file of fifty rows into place every ten seconds.
pub(super) struct Logger(pub(super) PathBuf);

impl Speaker for Logger {
    fn speak(&mut self, count: u32) -> std::io::Result<()> {
        if !count.is_multiple_of(10) {
            return Ok(());
        }
        let first = 1_767_225_600 + u64::from(count) * 10;
        let rows = (0..50_u32).map(|row| format!("{},{}.5\n", first + u64::from(row), wave(count + row)));
        let text = format!("t,v\n{}", rows.collect::<String>());
        let part = self.0.join(format!(".{count}"));
        std::fs::write(&part, text)?;
        std::fs::rename(part, self.0.join(format!("{count:06}.csv")))
    }
}

/// The first reading of glucose that is uploaded, in mg/dL: no other device here has one as high.
pub(super) const UPLOADED: u8 = 210;

/// An uploader: a reading of glucose every ten seconds, thirty times as often as a sensor has one.
pub(super) struct Uploader {
    pub(super) site: Site,
}

impl Speaker for Uploader {
    fn speak(&mut self, count: u32) -> std::io::Result<()> {
        if count.is_multiple_of(10) {
            let mut store = self.site.store();
            store.now_ms += 10_000;
            let (at, sgv) = (store.now_ms, u32::from(UPLOADED) + wave(count) - wave(10));
            let record =
                serde_json::json!({ "type": "sgv", "sgv": sgv, "direction": "Flat", "date": at, "utcOffset": 0 });
            store.write_v3(Collection::Entries, at, record);
        }
        Ok(())
    }
}
