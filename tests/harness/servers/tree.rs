//! A server's process with those that it started itself.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::until;
use crate::process::Process;

/// A running server; it and its children are gone when this is dropped.
#[derive(Debug)]
pub(super) struct Tree {
    process: Process,
}

impl Tree {
    /// Starts `command`; what it says goes to `log`.
    pub(super) fn start(command: Command, log: &Path) -> anyhow::Result<Self> {
        let named = command.get_program().to_owned();
        let process = Process::start_logged(command, log).with_context(|| format!("start {}", named.display()))?;
        Ok(Self { process })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Fails with the end of its log when it has ended.
    pub(super) fn ensure_runs(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.process.ended() else { return Ok(()) };
        let text = self.process.log_text();
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        anyhow::bail!("it ended with {status}: {}", lines.into_iter().rev().collect::<Vec<_>>().join(" | "))
    }

    /// Sends `signal` to the parent.
    pub(super) fn send(&self, signal: Signal) {
        send(self.id(), signal);
    }

    /// Whether the parent itself, and nobody else, listens on `port` of 127.0.0.1.
    pub(super) fn listens_on(&self, port: u16) -> bool {
        // proc(5): local address, remote address and state (0A: listening) are the fields from 1 on, the inode is 9.
        let wanted = format!("0100007F:{port:04X}");
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let mut sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let listening = sockets.find(|fields| fields.get(1) == Some(&wanted.as_str()) && fields.get(3) == Some(&"0A"));
        let Some(inode) = listening.and_then(|fields| fields.get(9).map(|inode| format!("socket:[{inode}]"))) else {
            return false;
        };
        let held = std::fs::read_dir(format!("/proc/{}/fd", self.id())).into_iter().flatten().filter_map(Result::ok);
        held.filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .any(|target| target.as_os_str() == inode.as_str())
    }

    /// SIGSTOP to all of it, the parent first, so that no child is missed.
    pub(super) fn pause(&self) {
        for id in self.all() {
            send(id, Signal::SIGSTOP);
        }
    }

    /// SIGSTOP to the parent alone.
    pub(super) fn pause_parent(&self) {
        send(self.id(), Signal::SIGSTOP);
    }

    /// SIGCONT to all of it, the parent last.
    pub(super) fn resume(&self) {
        for id in self.all().into_iter().rev() {
            send(id, Signal::SIGCONT);
        }
    }

    /// SIGKILL to all of it at once, as when a machine dies; all are gone when this returns.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        // Halted first, the parent can neither start another child nor tell the children to end in good order.
        self.pause();
        let all = self.all();
        for id in all.iter().rev() {
            send(*id, Signal::SIGKILL);
        }
        self.process.kill();
        // What the parent has not waited for stays as a zombie until init does: it holds nothing any more.
        let gone = |id: &u32| state(*id).is_none_or(|(state, _)| state == 'Z' || state == 'X');
        until("a killed server's children to be gone", Duration::from_secs(10), || {
            Ok(all.iter().all(gone).then_some(()))
        })
    }

    /// Sends `signal` to the parent and waits for the end of all.
    pub(super) fn end(&mut self, signal: Signal, deadline: Duration) -> anyhow::Result<()> {
        self.resume();
        send(self.id(), signal);
        until("a server to end when asked", deadline, || Ok(self.process.ended().map(drop)))
    }

    /// The parent, halted or not, and then its children.
    fn all(&self) -> Vec<u32> {
        let mut all = vec![self.id()];
        let listed = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let ids = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        all.extend(ids.filter(|id| state(*id).is_some_and(|(_, parent)| parent == self.id())));
        all
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.process.ended().is_none() {
            let _ = self.kill();
        }
    }
}

fn send(id: u32, signal: Signal) {
    // It may just have ended by itself.
    let _ = kill(Pid::from_raw(id.cast_signed()), signal);
}

/// A process's state letter and its parent (proc(5), `/proc/pid/stat`).
fn state(id: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Runs a helper program to its end; its words become the error.
pub(super) fn run(mut command: Command) -> anyhow::Result<String> {
    let named = command.get_program().to_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {}", named.display()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{} ended with {}: {}", named.display(), output.status, words.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
