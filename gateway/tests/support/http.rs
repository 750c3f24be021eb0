//! Just enough HTTP/1.1 to ask the API as anybody could, down to a wrong Host.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A request that was sent, with its answer's head read.
async fn begin(
    address: SocketAddr,
    method: &str,
    path: &str,
    host: &str,
    more: &str,
) -> (Answer, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reader = BufReader::new(stream);
    let status = line(&mut reader).await;
    let status = status.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let header = line(&mut reader).await;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    (Answer { status, headers, body: String::new() }, reader)
}

async fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    timeout(PATIENCE, reader.read_line(&mut line)).await.expect("a line in time").unwrap();
    line.trim_end().to_owned()
}

/// Asks with any method, Host and further headers (each with its line end).
pub(crate) async fn ask(address: SocketAddr, method: &str, path: &str, host: &str, more: &str) -> Answer {
    let (mut answer, mut reader) = begin(address, method, path, host, more).await;
    timeout(PATIENCE, reader.read_to_string(&mut answer.body)).await.expect("a body in time").unwrap();
    answer
}

/// Asks as a browser on this machine does.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &address.to_string(), "").await
}

/// A live view.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        let (answer, reader) = begin(address, "GET", path, &address.to_string(), "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
        Self(reader)
    }

    /// The data of the next event of this name.
    pub(crate) async fn next(&mut self, name: &str) -> serde_json::Value {
        let found = async {
            loop {
                if line(&mut self.0).await == format!("event: {name}") {
                    let data = line(&mut self.0).await;
                    return serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                }
            }
        };
        timeout(PATIENCE, found).await.expect("an event in time")
    }

    /// Reads until the server ends the view.
    pub(crate) async fn wait_for_end(mut self) {
        let mut rest = String::new();
        timeout(PATIENCE, self.0.read_to_string(&mut rest)).await.expect("an end in time").unwrap();
    }
}
