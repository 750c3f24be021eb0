"""A package's life in a Debian: installed, upgraded, removed, purged."""

from __future__ import annotations

import re
import stat
import subprocess
import tempfile
from pathlib import Path

from contents import made
from judging import Fault, holds, until
from machine import Debian, debian, fault_unless
from manager import Service
from units import is_enabled, rules, verify

SETTINGS = "/etc/tributary/agent.toml"
BUFFER = "/var/lib/tributary/buffer.db"


def _of_now(name: str) -> Path:
    return made(name, "amd64")[0]


def _next(name: str, into: Path) -> Path:
    """The same package as it will be called one day."""
    package, folder = _of_now(name), into / "next"
    later = into / package.name.replace("_amd64", "+next_amd64")
    subprocess.run(["dpkg-deb", "--raw-extract", package, folder], check=True)
    control = folder / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .+)$", r"\1+next", control.read_text(), flags=re.M))
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", folder, later]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return later


def _rights(machine: Debian, path: str) -> str:
    found = machine.path(path).stat()
    users = {line.split(":")[2]: line.split(":")[0] for line in machine.path("/etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[2]: line.split(":")[0] for line in machine.path("/etc/group").read_text().splitlines()}
    return f"{users[str(found.st_uid)]}:{groups[str(found.st_gid)]} {stat.S_IMODE(found.st_mode):o}"


def _configure(machine: Debian) -> str:
    """The example, with what must be changed changed: no uplink yet, and a source that is there."""
    text = machine.path("/usr/share/doc/tributary-agent/examples/agent.toml").read_text()
    text, count = re.subn(r'\n# Where readings go\..*?\n\[\[source\]\]\nname = "greenhouse".*?\n(?=\n)',
                          '\n[[source]]\nname = "machine"\ntype = "system"\nevery_s = 1\n', text, flags=re.S)  # fmt: skip
    holds(count == 1, "the example is another than this check takes it for")
    machine.path(SETTINGS).write_text(text)
    return text


def _waiting(machine: Debian) -> int:
    said = machine.run("runuser", "-u", "tributary", "--", "tributary-agent", "status")
    return int(re.search(r"to be sent +(\d+)", said)[1])


def _captures(machine: Debian) -> int:
    """The agent runs for a while as its unit says, and takes readings in. Answers how many batches wait now."""
    before = _waiting(machine) if machine.path(BUFFER).exists() else 0
    service = Service(machine, "tributary-agent")
    if not service.count("READY=1"):
        service.waits("READY=1")
    until(lambda: machine.path(BUFFER).exists() and _waiting(machine) > before, "a batch of readings")
    service.waits("WATCHDOG=1")
    service.end()
    return _waiting(machine)


def life() -> str:
    """Installed, it runs as nobody in particular; a newer one changes nothing that is the user's; removed, it leaves all that;
    purged, it says what goes, and keeps what nobody else has."""
    with debian() as machine:
        machine.install(_of_now("tributary-agent"))
        for path, rights in {"/etc/tributary": "root:tributary 1770", "/var/lib/tributary": "tributary:tributary 700"}.items():
            holds(_rights(machine, path) == rights, f"{path} is {_rights(machine, path)}, not {rights}")
        groups = machine.run("id", "--name", "--groups", "tributary").split()
        holds("dialout" in groups, f"it may open no serial port: {groups}")
        verify(machine, "tributary-agent")
        rules(machine, "tributary-agent")
        holds(is_enabled(machine, "tributary-agent"), "it would not start with the machine")
        holds(not machine.path(SETTINGS).exists(), "it comes with settings that nobody has made")
        settings = _configure(machine)
        machine.run("tributary-agent", "check-config")
        waiting = _captures(machine)

        machine.run("systemctl", "disable", "tributary-agent")
        with tempfile.TemporaryDirectory() as folder:
            machine.install(_next("tributary-agent", Path(folder)))
        fault_unless("+next", machine.run("dpkg-query", "--show", "tributary-agent"))
        holds(not is_enabled(machine, "tributary-agent"), "an upgrade has switched on what was switched off")
        machine.run("systemctl", "enable", "tributary-agent")
        holds(machine.path(SETTINGS).read_text() == settings, "an upgrade has changed the settings")
        holds(_waiting(machine) == waiting, "an upgrade has lost readings")
        waiting = _captures(machine)

        said = machine.run("dpkg", "--remove", "tributary-agent")
        fault_unless(f"{waiting} batches of readings in {BUFFER} may not have reached", said)
        holds(not machine.path("/usr/bin/tributary-agent").exists(), "removed, it is still there")
        holds(machine.path(SETTINGS).read_text() == settings, "removed, it has taken the settings along")
        machine.install(_of_now("tributary-agent"))
        holds(_waiting(machine) == waiting, "removed and installed again, readings are gone")
        holds(is_enabled(machine, "tributary-agent"), "removed and installed again, it does not start")
        _purges(machine, waiting)
    return "installed, upgraded, removed, purged"


def _purges(machine: Debian, waiting: int) -> None:
    for name in ("device.crt", "device.key", "device.key.next", "ca.crt", "somebody-elses.key"):
        machine.path(f"/etc/tributary/{name}").write_text("x\n")
    said = machine.run("dpkg", "--purge", "tributary-agent")
    for name in ("agent.toml", "device.crt", "device.key", "device.key.next", "ca.crt"):
        fault_unless(f"deleting /etc/tributary/{name}\n", said)
        holds(not machine.path(f"/etc/tributary/{name}").exists(), f"purged, it leaves {name}")
    holds(machine.path("/etc/tributary/somebody-elses.key").exists(), "purged, it takes along what is not its own")
    fault_unless("/etc/tributary stays, with somebody-elses.key", said)
    fault_unless(f"KEPT {BUFFER}; batches in it that no gateway has confirmed: {waiting}\n", said)
    holds(machine.path(BUFFER).exists(), "purged, it loses readings that nobody else has")

    # Those who say so get rid of them.
    machine.install(_of_now("tributary-agent"))
    machine.run("sh", "-c", "echo tributary-agent tributary-agent/purge-data boolean true | debconf-set-selections")
    said = machine.run("dpkg", "--purge", "tributary-agent")
    fault_unless(f"deleting {BUFFER}\n", said)
    holds(not machine.path("/var/lib/tributary").exists(), "purged by who said so, it leaves readings")

    # Nothing waits in an empty one.
    machine.install(_of_now("tributary-agent"))
    machine.path(SETTINGS).write_text(f'[device]\nid = "meter-7"\n[buffer]\npath = "{BUFFER}"\n')
    service = Service(machine, "tributary-agent")
    service.waits("WATCHDOG=1")
    service.end()
    said = machine.run("dpkg", "--purge", "tributary-agent")
    fault_unless("that no gateway has confirmed: 0\n", said)
    holds(not machine.path("/var/lib/tributary").exists(), "purged, it leaves an empty buffer")
    holds("tributary" in machine.path("/etc/passwd").read_text(), "purged, its user is free for another")


def both() -> str:
    """Agent and gateway on one machine: one may go, and the other keeps what is its own."""
    with debian() as machine:
        for name in ("tributary-gateway", "tributary-agent"):
            machine.install(_of_now(name))
            verify(machine, name)
        for name in ("gateway.toml", "gateway.key", "agent.toml", "device.key", "ca.crt"):
            machine.path(f"/etc/tributary/{name}").write_text("x\n")
        for name in ("gateway.db", "gateway.db-wal", "authority/ca.key"):
            machine.path(f"/var/lib/tributary/{name}").parent.mkdir(exist_ok=True)
            machine.path(f"/var/lib/tributary/{name}").write_text("x\n")
        machine.run("dpkg", "--purge", "tributary-agent")
        left = sorted(path.name for path in machine.path("/etc/tributary").iterdir())
        holds(left == ["ca.crt", "gateway.key", "gateway.toml"], f"of the gateway's files there are {left}")
        said = machine.run("dpkg", "--purge", "tributary-gateway")
        for name in ("gateway.db", "authority"):
            fault_unless(f"KEPT /var/lib/tributary/{name};", said)
            holds(machine.path(f"/var/lib/tributary/{name}").exists(), f"purged, it has deleted {name}")
        holds(not machine.path("/etc/tributary").exists(), "purged, both leave settings")
        machine.install(_of_now("tributary-gateway"))
        machine.run("sh", "-c", "echo tributary-gateway tributary-gateway/purge-data boolean true | debconf-set-selections")
        said = machine.run("dpkg", "--purge", "tributary-gateway")
        for name in ("gateway.db", "gateway.db-wal", "authority"):
            fault_unless(f"deleting /var/lib/tributary/{name}\n", said)
        if machine.path("/var/lib/tributary").exists():
            raise Fault("purged by who said so, the gateway leaves data")
    return "one goes, the other stays"
