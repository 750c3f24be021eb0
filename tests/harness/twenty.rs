//! Twenty sources of mixed kinds on one agent, each with five readings a second.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::pty::Port;

/// How many sources there are.
pub const SOURCES: u32 = 20;
/// Readings a second of all together.
pub const READINGS_PER_S: u32 = 5 * SOURCES;
/// From one reading of a source to the next.
const SPACING: Duration = Duration::from_millis(200);
/// Boards on serial ports: a line each time, in three ways of writing it.
const BOARDS: u32 = 10;
/// Files that are played back. The others are simulations, five times as fast as life.
const FILES: u32 = 4;
/// How long a file lasts.
const FILE_S: u64 = 600;

/// What is at the other end of the serial ports. They fall silent when it is dropped.
pub struct Twenty {
    /// The `[[source]]` tables.
    pub tables: String,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Twenty {
    /// Lays out ports and files in `folder`, and begins to speak.
    ///
    /// # Errors
    /// When the system has no terminal to give, or the folder takes no file.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let mut tables = String::new();
        let mut ports = Vec::new();
        for number in 0..BOARDS {
            let path = folder.join(format!("board-{number}"));
            ports.push(Port::open(&path)?);
            let (format, column) =
                [("key_value", "\"v\""), ("json", "\"v\""), ("csv", "1")][usize::try_from(number % 3).unwrap_or(0)];
            let _ = write!(
                tables,
                "[[source]]\nname = \"board-{number}\"\ntype = \"serial\"\nport = {path:?}\nformat = \"{format}\"\ntrust_first_line = true\nseries = [{{ \
                 column = {column}, name = \"board.{number}\", unit = \"Cel\" }}]\n"
            );
        }
        for number in 0..FILES {
            let path = folder.join(format!("file-{number}.ndjson"));
            std::fs::write(&path, file(number))?;
            let _ = write!(
                tables,
                "[[source]]\nname = \"file-{number}\"\ntype = \"file\"\npath = {path:?}\nmode = \"replay\"\ntime = {{ column = \
                 \"t\", unit = \"ms\" }}\nseries = [{{ column = \"v\", name = \"file.{number}\", unit = \"W\" }}]\n"
            );
        }
        for number in BOARDS + FILES..SOURCES {
            let _ = write!(
                tables,
                "[[source]]\nname = \"made-up-{number}\"\ntype = \"simulate\"\nwhat = \"meter\"\nseed = {number}\nspeed = 5.0\n"
            );
        }
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let speaker = (Arc::clone(&sent), Arc::clone(&stop));
        let thread = Some(std::thread::spawn(move || speak(&mut ports, &speaker.0, &speaker.1)));
        Ok(Self { tables, sent, stop, thread })
    }

    /// Lines that the boards have sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Twenty {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Rows from 2026-01-01T00:00:00Z on.
fn file(number: u32) -> String {
    let rows = FILE_S * 1_000 / u64::try_from(SPACING.as_millis()).unwrap_or(1);
    let row = |row: u64| {
        format!("{{\"t\":{},\"v\":{}}}\n", 1_767_225_600_000 + row * 200, 100 + (row + u64::from(number)) % 37)
    };
    (0..rows).map(row).collect()
}

/// Sends a line on each port at each tick; what nobody reads is lost, as on a wire.
fn speak(ports: &mut [Port], sent: &AtomicU64, stop: &AtomicBool) {
    let (began, mut tick) = (Instant::now(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        for (number, port) in ports.iter_mut().enumerate() {
            let value = f64::from(tick % 400) / 10.0;
            let line = match number % 3 {
                0 => format!("v={value}"),
                1 => format!("{{\"v\":{value}}}"),
                _ => format!("{value},1"),
            };
            sent.fetch_add(u64::from(port.send(&line)), Ordering::Relaxed);
        }
        tick += 1;
        std::thread::sleep((began + SPACING * tick).saturating_duration_since(Instant::now()));
    }
}
