//! Programs that a person starts by hand.

use std::process::{Command, Stdio};
use std::time::Duration;

use harness::pty::Port;
use harness::{Agent, Pki, wait_for};

#[test]
fn an_agent_whose_log_goes_to_a_terminal_starts_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let files = Pki::create(&folder.path().join("pki")).device("meter-7");
    let agent = Agent::new(&folder.path().join("agent"), "meter-7", None, &files, "");
    let terminal = Port::open(&folder.path().join("terminal")).unwrap();
    let log = std::fs::File::options().write(true).open(&terminal.path).unwrap();
    let mut command = Command::new(&agent.program);
    command.args(["run", "--config"]).arg(agent.config()).stdin(Stdio::null()).stderr(log);
    let mut child = command.spawn().unwrap();
    wait_for("the buffer", Duration::from_secs(10), || agent.buffer().exists().then_some(()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    assert!(wait_for("its end", Duration::from_secs(10), || child.try_wait().unwrap()).success());
}
