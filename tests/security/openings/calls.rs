//! Every call by which the agent could listen, connect, open a file or start a program, from its first to its last, by
//! `strace`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::Agent;

use super::descriptors::RESOLVER;
use super::watch::Expected;
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

/// Judges all calls in `log`, but for those of the program that the agent may run.
///
/// # Errors
/// When there are none.
pub(super) fn judge(log: &Path, allowed: &[PathBuf], expected: &Expected, found: &mut Found) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    let (mut calls, mut connects, mut programs, mut listens) = (0, 0, Vec::new(), 0);
    let mut others: Vec<&str> = Vec::new();
    for line in text.lines() {
        let Some((thread, name, rest)) = call(line) else { continue };
        if others.contains(&thread) {
            continue;
        }
        calls += 1;
        connects += u64::from(name == "connect" && rest.contains("AF_INET"));
        listens += usize::from(name == "listen");
        if name.starts_with("execve") {
            programs.push(rest.split('"').nth(1).unwrap_or_default().to_owned());
            // From here on it is that program, and not the agent.
            others.extend((programs.len() > 1).then_some(thread));
        }
        if let Some(why) = strange(name, rest, allowed, expected) {
            found.wrong(format!("{why}: {line}"));
        }
    }
    let started: Vec<&str> = programs.iter().skip(1).map(String::as_str).collect();
    let is_right = !programs.is_empty() && started == expected.program.iter().copied().collect::<Vec<_>>();
    found.check(is_right, || format!("{programs:?} were started, where the agent and {:?} are due", expected.program));
    let due = usize::from(expected.socket.is_some());
    found.check(listens == due, || format!("it listened {listens} times, where {due} are due"));
    found.check(connects >= 1, || "no connection, where some were made".to_owned());
    found.count("agent_calls_looked_at", calls);
    Ok(())
}

/// Thread, name and the rest of a line; none of a line that is no beginning of a call.
fn call(line: &str) -> Option<(&str, &str, &str)> {
    let text = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let thread = line.strip_suffix(text)?;
    let (name, rest) = text.trim_start().split_once('(')?;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some((thread, name, rest))
}

/// Why an agent has no use for this call.
fn strange(name: &str, rest: &str, allowed: &[PathBuf], expected: &Expected) -> Option<&'static str> {
    let is_kernel = rest.contains("AF_NETLINK");
    let is_expected = || {
        let is_loopback = rest.contains("\"127.0.0.1\"") || rest.contains("\"::1\"");
        // The resolver's trial of a way takes any port, and undoes it with an address of no family.
        let is_port = expected.ports.iter().chain([&0]).any(|port| rest.contains(&format!("htons({port})")));
        is_loopback && is_port || rest.contains("AF_UNSPEC")
    };
    let socket = expected.socket.as_deref().map(|path| format!("sun_path=\"{}\"", path.display()));
    let is_own_socket = || rest.contains("AF_UNIX") && socket.as_ref().is_some_and(|socket| rest.contains(socket));
    match name {
        "listen" | "accept" | "accept4" if socket.is_none() => Some("it listens"),
        "bind" if !is_kernel && !is_own_socket() => Some("it binds"),
        "io_uring_setup" => Some("a way around being looked at"),
        "connect" if rest.contains("AF_UNIX") && !rest.contains("/nscd/socket") && !is_own_socket() => {
            Some("it connects to a program")
        }
        "connect" if rest.contains("AF_INET") && !is_expected() => Some("it connects elsewhere"),
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
        let expected = Expected::only(8_883);
        let why = |line: &str| call(line).and_then(|(_, name, rest)| strange(name, rest, &own, &expected));
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

    #[test]
    fn what_the_settings_name_is_no_more_than_that() {
        let more = Expected { ports: [8_883, 502].into(), socket: Some("/run/in.sock".into()), ..Expected::default() };
        let why = |line: &str| call(line).and_then(|(_, name, rest)| strange(name, rest, &[], &more));
        for good in [
            r#"7 connect(9, {sa_family=AF_INET, sin_port=htons(502), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
            r#"7 bind(9, {sa_family=AF_UNIX, sun_path="/run/in.sock"}, 110) = 0"#,
            r#"7 listen(9, 128) = 0"#,
        ] {
            assert_eq!(why(good), None, "{good}");
        }
        for bad in [
            r#"7 connect(9, {sa_family=AF_INET, sin_port=htons(503), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
            r#"7 bind(9, {sa_family=AF_UNIX, sun_path="/run/in.sock2"}, 110) = 0"#,
            r#"7 bind(9, {sa_family=AF_INET, sin_port=htons(502), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
        ] {
            assert!(why(bad).is_some(), "{bad}");
        }
        assert_eq!(call("123 listen(9, 128) = 0"), Some(("123", "listen", "9, 128) = 0")));
    }
}
