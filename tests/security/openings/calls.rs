//! Every call by which the agent could listen, connect, open a file or start a program, from its first to its last, by
//! `strace`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::Agent;

use super::descriptors::RESOLVER;
use crate::part::Found;

/// The calls.
const TRACED: &str = "network,open,openat,openat2,creat,execve,execveat,io_uring_setup";
/// What libraries read when a program starts.
const LIBRARIES: [&str; 9] = [
    "/dev/urandom",
    "/lib/",
    "/lib64/",
    "/usr/lib/",
    "/usr/lib64/",
    "/etc/ld.so.",
    "/proc/",
    "/sys/",
    "/usr/share/zoneinfo",
];

/// Has `agent` run under `strace`, as the process that it would be anyway; none where that is missing.
///
/// # Errors
/// When the script that starts it cannot be written.
pub(super) fn trace(agent: &mut Agent, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let (log, script) = (folder.join("calls.log"), folder.join("traced"));
    let works = std::process::Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    if !works.is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }
    let text = format!(
        "#!/bin/sh\nexec strace -D -f -qq -s 256 -e trace={TRACED} -o '{}' '{}' \"$@\"\n",
        log.display(),
        agent.program.display()
    );
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    agent.program = script;
    Ok(Some(log))
}

/// Judges all calls in `log`.
///
/// # Errors
/// When there are none.
pub(super) fn judge(log: &Path, allowed: &[PathBuf], gateway: u16, found: &mut Found) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    let (mut calls, mut connects, mut programs) = (0, 0, 0);
    for line in text.lines() {
        let Some((name, rest)) = call(line) else { continue };
        calls += 1;
        connects += u64::from(name == "connect" && rest.contains("AF_INET"));
        programs += u64::from(name.starts_with("execve"));
        if let Some(why) = strange(name, rest, allowed, gateway) {
            found.wrong(format!("{why}: {line}"));
        }
    }
    found.check(programs == 1, || format!("{programs} programs were started, where the agent is the one"));
    found.check(connects >= 2, || format!("{connects} connections, where two were made"));
    found.measured("agent_calls_looked_at", calls);
    Ok(())
}

/// Name and the rest of a line; none of a line that is no beginning of a call.
fn call(line: &str) -> Option<(&str, &str)> {
    let text = line.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start();
    let (name, rest) = text.split_once('(')?;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some((name, rest))
}

/// Why an agent has no use for this call.
fn strange(name: &str, rest: &str, allowed: &[PathBuf], gateway: u16) -> Option<&'static str> {
    let is_kernel = rest.contains("AF_NETLINK");
    let to_gateway = || {
        let port = format!("htons({gateway})");
        let is_loopback = rest.contains("\"127.0.0.1\"") || rest.contains("\"::1\"");
        // The resolver's trial of a way takes any port, and undoes it with an address of no family.
        is_loopback && (rest.contains(&port) || rest.contains("htons(0)")) || rest.contains("AF_UNSPEC")
    };
    match name {
        "listen" | "accept" | "accept4" => Some("it listens"),
        "bind" if !is_kernel => Some("it binds"),
        "io_uring_setup" => Some("a way around being looked at"),
        "connect" if rest.contains("AF_UNIX") && !rest.contains("/nscd/socket") => Some("it connects to a program"),
        "connect" if rest.contains("AF_INET") && !to_gateway() => Some("it connects elsewhere"),
        "sendto" | "sendmsg" | "sendmmsg" if rest.contains("AF_INET") => Some("it sends without a connection"),
        "socket" if rest.contains("SOCK_RAW") && !is_kernel || rest.contains("AF_PACKET") => Some("a raw socket"),
        "open" | "openat" | "openat2" | "creat" => {
            let path = Path::new(rest.split('"').nth(1).unwrap_or_default());
            let is_own = allowed.iter().any(|own| path.starts_with(own));
            let is_written =
                name == "creat" || ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| rest.contains(flag));
            let text = path.display().to_string();
            let is_read = RESOLVER.contains(&text.as_str()) || LIBRARIES.iter().any(|start| text.starts_with(start));
            (!is_own && (is_written || !is_read)).then_some("it opens")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_has_no_use_for_is_told_from_what_it_does() {
        let own = [PathBuf::from("/home/agent")];
        let why = |line: &str| call(line).and_then(|(name, rest)| strange(name, rest, &own, 8_883));
        for good in [
            r#"7 connect(9, {sa_family=AF_INET, sin_port=htons(8883), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
            r#"7 bind(9, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 0"#,
            r#"7 openat(AT_FDCWD, "/home/agent/buffer.db", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 3"#,
            r#"7 openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 3"#,
            r#"socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3"#,
        ] {
            assert_eq!(why(good), None, "{good}");
        }
        for bad in [
            r#"7 listen(9, 128) = 0"#,
            r#"7 bind(9, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("0.0.0.0")}, 16) = 0"#,
            r#"7 connect(9, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
            r#"7 connect(9, {sa_family=AF_INET, sin_port=htons(8883), sin_addr=inet_addr("192.0.2.1")}, 16) = 0"#,
            r#"7 connect(9, {sa_family=AF_UNIX, sun_path="/run/dbus/socket"}, 110) = 0"#,
            r#"7 sendto(9, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(53), ...}, 16) = 1"#,
            r#"7 openat(AT_FDCWD, "/etc/shadow", O_RDONLY) = 3"#,
            r#"7 openat(AT_FDCWD, "/etc/hosts", O_RDWR) = 3"#,
            r#"7 openat(AT_FDCWD, "/home/agent-other/x", O_RDONLY) = 3"#,
        ] {
            assert!(why(bad).is_some(), "{bad}");
        }
    }
}
