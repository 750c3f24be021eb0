"""A package's life in a Debian: installed, upgraded, removed, purged."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import stat
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

from contents import made
from judging import ROOT, holds, until
from machine import Debian, debian, fault_unless
from manager import Service
from units import drivers, is_enabled, rules, verify

SETTINGS = "/etc/tributary/agent.toml"
BUFFER = "/var/lib/tributary/buffer.db"
SOCKET = "/run/tributary/readings.sock"
# Of a source that reads lines of JSON.
LINES = 'format = "ndjson"\ntime = { column = "at" }\n[[source.series]]\ncolumn = "t"\nname = "temperature"\nunit = "Cel"\n'
# What a source of the type `system` reads in /proc.
OF_THE_MACHINE = {"system.load.1m", "system.memory.available", "system.uptime"}


def _of_now(name: str) -> Path:
    found = made(name, "amd64")
    holds(len(found) == 1, f"which of them is the one of now: {', '.join(path.name for path in found)}?")
    return found[0]


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
    """The example, with what must be changed changed: no uplink yet, and sources that are there."""
    text = machine.path("/usr/share/doc/tributary-agent/examples/agent.toml").read_text()
    text, count = re.subn(r'\n# Where readings go\..*?\n\[\[source\]\]\nname = "greenhouse".*?\n(?=\n)',
                          '\n[[source]]\nname = "machine"\ntype = "system"\nevery_s = 1\n', text, flags=re.S)  # fmt: skip
    holds(count == 1, "the example is another than this check takes it for")
    text += (ROOT / "agent/src/source/socket/sample.toml").read_text()
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
    _hands_over(machine)
    service.waits("WATCHDOG=1")
    service.end()
    _sees_the_machine(machine)
    return _waiting(machine)


def _hands_over(machine: Debian) -> None:
    """A program that is in the agent's group is answered at the sample's socket; one that is not does not get that far."""
    asks = f"""use IO::Socket::UNIX; my $agent = IO::Socket::UNIX->new(Peer => "{SOCKET}") or die "$!\\n";
        print $agent '{{"at":"2026-03-01T12:00:00Z","t":21.5}}', "\\n"; $agent->flush; print scalar <$agent>"""
    said = {}
    for groups in ("--groups=tributary", "--clear-groups"):
        said[groups] = machine.attempt("setpriv", "--reuid=nobody", "--regid=nogroup", groups, "timeout", "10", "perl", "-e", asks).stdout.strip()
    holds('"ok":true' in said["--groups=tributary"], f"at the socket a program of the group hears: {said['--groups=tributary']}")
    holds("denied" in said["--clear-groups"], f"at the socket anybody hears: {said['--clear-groups']}")


def _sees_the_machine(machine: Debian) -> None:
    """What the unit leaves the agent to see: which boot this is, and how the machine does."""
    with tempfile.TemporaryDirectory() as folder:
        for path in machine.path(BUFFER).parent.glob("buffer.db*"):
            shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder, "buffer.db"))) as buffer:
            boots = {boot.hex() for (boot,) in buffer.execute("select boot from epoch")}
            rows = [str(row) for (row,) in buffer.execute("select row from batch order by row desc limit 5")]
    now = Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")[:16]
    holds(boots == {now}, f"the agent takes this boot, {now}, for {', '.join(boots)}")
    shown = "".join(machine.run("runuser", "-u", "tributary", "--", "tributary-agent", "buffer", "show", row) for row in rows)
    missing = OF_THE_MACHINE - {json.loads(line)["series"] for line in shown.splitlines()}
    holds(not missing, f"of the machine the agent does not tell {', '.join(sorted(missing))}")


def life() -> str:
    """Installed, it runs as nobody in particular; a newer one changes nothing that is the user's; removed, it leaves all that;
    purged, it says what goes, and keeps what nobody else has."""
    with debian() as machine:
        # As a tool for configuration makes it, before there is the package.
        machine.run("install", "-d", "-m", "0755", "/etc/tributary")
        said = machine.install(_of_now("tributary-agent"))
        fault_unless("/etc/tributary was root:root 755, and is root:tributary 1770 now", said)
        for path, rights in {"/etc/tributary": "root:tributary 1770", "/var/lib/tributary": "tributary:tributary 700"}.items():
            holds(_rights(machine, path) == rights, f"{path} is {_rights(machine, path)}, not {rights}")
        groups = machine.run("id", "--name", "--groups", "tributary").split()
        holds("dialout" in groups, f"it may open no serial port: {groups}")
        verify(machine, "tributary-agent")
        drivers(machine, "tributary-agent")
        rules(machine, "tributary-agent")
        holds(is_enabled(machine, "tributary-agent"), "it would not start with the machine")
        holds(not machine.path(SETTINGS).exists(), "it comes with settings that nobody has made")
        settings = _configure(machine)
        machine.run("tributary-agent", "check-config")
        waiting = _captures(machine)

        machine.run("systemctl", "disable", "tributary-agent")
        machine.run("chmod", "1750", "/etc/tributary")
        with tempfile.TemporaryDirectory() as folder:
            machine.install(_next("tributary-agent", Path(folder)))
        fault_unless("+next", machine.run("dpkg-query", "--show", "tributary-agent"))
        holds(not is_enabled(machine, "tributary-agent"), "an upgrade has switched on what was switched off")
        holds(_rights(machine, "/etc/tributary") == "root:tributary 1750", "an upgrade has changed whose the settings are")
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
    # The buffer was moved, and nothing is in the new one; what is in the old one waits still.
    moved, damaged = BUFFER.replace("buffer", "moved"), f"{BUFFER}.damaged-1"
    _runs_with(machine, moved)
    machine.path(damaged).write_text("x\n")
    said = machine.run("dpkg", "--purge", "tributary-agent")
    for name in ("agent.toml", "device.crt", "device.key", "device.key.next", "ca.crt"):
        fault_unless(f"deleting /etc/tributary/{name}\n", said)
        holds(not machine.path(f"/etc/tributary/{name}").exists(), f"purged, it leaves {name}")
    holds(machine.path("/etc/tributary/somebody-elses.key").exists(), "purged, it takes along what is not its own")
    fault_unless("/etc/tributary stays, with somebody-elses.key", said)
    fault_unless(f"KEPT {BUFFER}; batches in it that no gateway has confirmed: {waiting};", said)
    fault_unless(f"KEPT {damaged},", said)
    fault_unless(f"{moved}, where the settings have the buffer, stays", said)
    for path in (BUFFER, damaged, moved):
        holds(machine.path(path).exists(), f"purged, it loses what nobody else has: {path}")

    # Those who say so get rid of them.
    for path in machine.path(moved).parent.glob("moved.db*"):
        path.unlink()
    machine.install(_of_now("tributary-agent"))
    machine.run("sh", "-c", "echo tributary-agent tributary-agent/purge-data boolean true | debconf-set-selections")
    said = machine.run("dpkg", "--purge", "tributary-agent")
    fault_unless(f"deleting {BUFFER}\n", said)
    fault_unless(f"deleting {damaged}\n", said)
    holds(not machine.path("/var/lib/tributary").exists(), "purged by who said so, it leaves readings")

    # Nothing waits in this one, but what could not be read is nowhere else.
    machine.install(_of_now("tributary-agent"))
    machine.path("/var/lib/tributary/lines").write_text("no JSON\n")
    _runs_with(machine, BUFFER, f'[[source]]\nname = "lines"\ntype = "file"\npath = "/var/lib/tributary/lines"\n{LINES}')
    said = machine.run("dpkg", "--purge", "tributary-agent")
    fault_unless(f"KEPT {BUFFER}; batches in it that no gateway has confirmed: 0; pieces of input that became no reading: 1\n", said)
    for path in machine.path(BUFFER).parent.iterdir():
        path.unlink()

    # Nothing is in an empty one.
    machine.install(_of_now("tributary-agent"))
    _runs_with(machine, BUFFER)
    said = machine.run("dpkg", "--purge", "tributary-agent")
    fault_unless("the buffer goes; batches in it that no gateway has confirmed: 0; pieces of input that became no reading: 0\n", said)
    holds(not machine.path("/var/lib/tributary").exists(), "purged, it leaves an empty buffer")
    holds("tributary" in machine.path("/etc/passwd").read_text(), "purged, its user is free for another")


def _runs_with(machine: Debian, buffer: str, sources: str = "") -> None:
    """The agent, for as long as it takes to store what it begins with."""
    machine.path(SETTINGS).write_text(f'[device]\nid = "meter-7"\n[buffer]\npath = "{buffer}"\n{sources}')
    service = Service(machine, "tributary-agent")
    service.waits("WATCHDOG=1")
    service.end()


def both() -> str:
    """Agent and gateway on one machine: one may go, and the other keeps what is its own."""
    with debian() as machine:
        machine.run("dpkg-statoverride", "--add", "root", "root", "0751", "/etc/tributary")
        for name in ("tributary-gateway", "tributary-agent"):
            machine.install(_of_now(name))
            verify(machine, name)
        holds(_rights(machine, "/etc/tributary") == "root:root 751", "dpkg-statoverride is not heard")
        for name in ("gateway.toml", "gateway.key", "receipts.key", "agent.toml", "device.key", "ca.crt"):
            machine.path(f"/etc/tributary/{name}").write_text("x\n")
        for name in ("gateway.db", "gateway.db-wal", "authority/ca.key", "backups/gateway-20200101T000000Z.db"):
            machine.path(f"/var/lib/tributary/{name}").parent.mkdir(exist_ok=True)
            machine.path(f"/var/lib/tributary/{name}").write_text("x\n")
        machine.run("dpkg", "--purge", "tributary-agent")
        left = sorted(path.name for path in machine.path("/etc/tributary").iterdir())
        holds(left == ["ca.crt", "gateway.key", "gateway.toml", "receipts.key"], f"of the gateway's files there are {left}")
        said = machine.run("dpkg", "--purge", "tributary-gateway")
        kept = ("/var/lib/tributary/gateway.db", "/var/lib/tributary/authority", "/var/lib/tributary/backups", "/etc/tributary/receipts.key")
        for path in kept:
            fault_unless(f"KEPT {path};", said)
            holds(machine.path(path).exists(), f"purged, it has deleted {path}")
        fault_unless("/etc/tributary stays, with receipts.key", said)
        machine.install(_of_now("tributary-gateway"))
        machine.run("sh", "-c", "echo tributary-gateway tributary-gateway/purge-data boolean true | debconf-set-selections")
        said = machine.run("dpkg", "--purge", "tributary-gateway")
        for path in (*kept, "/var/lib/tributary/gateway.db-wal"):
            fault_unless(f"deleting {path}\n", said)
        for path in ("/var/lib/tributary", "/etc/tributary"):
            holds(not machine.path(path).exists(), f"purged by who said so, both leave {path}")
    return "one goes, the other stays"
