//! A small HTTP server of the test's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What was asked.
pub(super) struct Request {
    #[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "who asks there, asks for one thing by one method"))]
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// Lines as they came.
    pub(super) headers: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&String| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        self.headers.iter().find(named).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

/// What is answered.
pub(super) enum Reply {
    Answer(u16, String),
    /// The connection ends without a word.
    Cut,
}

/// Serves until it is dropped.
pub(super) struct Server {
    pub(super) port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, answer) = (Arc::<AtomicBool>::default(), Arc::new(answer));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let answer = answer.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &*answer));
            }
        });
        Self { port, stop, thread: Some(thread) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One request; then the connection ends. Who asks may be gone meanwhile.
fn serve(mut stream: TcpStream, answer: &(impl Fn(Request) -> Reply + ?Sized)) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    let _ = reader.read_line(&mut line);
    let mut words = line.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        headers.push(line.trim().to_owned());
    }
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body = vec![0; length];
    if reader.read_exact(&mut request.body).is_err() {
        return;
    }
    if let Reply::Answer(status, body) = answer(request) {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} Said\r\ncontent-type: application/x-amz-json-1.0\r\nconnection: close\r\n");
        let head =
            if status == 204 { format!("{head}\r\n") } else { format!("{head}content-length: {length}\r\n\r\n") };
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }
}

/// Xorshift (Marsaglia, 2003), shared by those who serve.
pub(super) struct Dice(std::sync::Mutex<u64>);

impl Dice {
    /// With a seed that is printed and can be given.
    pub(super) fn new() -> Self {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
        println!("SEED={seed} repeats this run");
        Self(std::sync::Mutex::new(seed))
    }

    pub(super) fn below(&self, bound: u64) -> u64 {
        let mut dice = self.0.lock().unwrap();
        *dice ^= *dice << 13;
        *dice ^= *dice >> 7;
        *dice ^= *dice << 17;
        *dice % bound
    }
}
