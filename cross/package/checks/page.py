"""docs/raspberry-pi.md, walked through command by command: two machines, one reading, seen where the dashboard gets it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from contents import MADE, made
from judging import ROOT, Fault, Skipped, holds, run, until
from life import OF_THE_MACHINE, _of_now
from machine import TAR, Debian, debian
from manager import Service, systemd

PAGE = ROOT / "docs/raspberry-pi.md"
# The machine that the page calls hub has this address.
HUB = "192.168.1.10"
# What is said to whom: commands for the two machines, for the reader's own, and those that want a device at a cable. There are
# two ways for a Pi to be enrolled: with a file, and with a code, which another Pi goes.
BY_FILE, BY_CODE = {"copy", "pi-by-file"}, {"hub-by-code", "pi-by-code"}
KINDS = {"hub", "pi", "device"} | BY_FILE | BY_CODE


def blocks() -> list[tuple[str, str]]:
    """Where, and what."""
    found = re.findall(r"^```sh ?(\S*)\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    strange = {kind for kind, _ in found} - KINDS
    holds(found and not strange, f"nobody knows where to run {strange}")
    return found


def page() -> str:
    """Every command of the page succeeds, in its order; there is a reading, and at the end somebody whose it is."""
    walked = 0
    with debian() as hub, debian(beside=hub) as pi, systemd(hub) as on_hub, systemd(pi) as on_pi:
        run("nsenter", f"--target={hub.pid}", "--net", "ip", "address", "add", f"{HUB}/32", "dev", "lo")
        # A Raspberry Pi is of another architecture than where this is tried.
        for machine, name, architecture in ((hub, "tributary-gateway", "amd64"), (pi, "tributary-agent", "arm64")):
            package = _of_now(name)
            shutil.copy(package, machine.path("/root") / package.name.replace("_amd64", f"_{architecture}"))
        readings: set[str] = set()
        for kind, commands in blocks():
            if kind == "device" or kind in BY_CODE:
                continue
            walked += 1
            if kind == "copy":
                _copy(commands, hub, pi)
                continue
            asks = kind == "hub" and "api/v1" in commands
            said = _walk(hub if kind == "hub" else pi, commands, again=asks)
            readings |= _readings(said) if asks else set()
        missing = OF_THE_MACHINE - readings
        holds(not missing, f"of the Pi there is no {', '.join(sorted(missing))}, only {', '.join(sorted(readings))}")
        _somebody(hub)
        _end(on_pi)
        walked += _by_code(hub)
        _end(on_hub)
    left_out = sum(kind == "device" for kind, _ in blocks())
    return f"{walked} steps walked; {left_out} want a device at a cable, and were not"


def _end(services: dict[str, Service]) -> None:
    """The one that the page starts goes on, and ends well."""
    for service in services.values():
        service.waits("WATCHDOG=1")
        service.end()
    holds(len(services) == 1, f"the page starts other services than it should: {', '.join(services)}")


def _by_code(hub: Debian) -> int:
    """Another Pi, without the file; answers how many steps were walked that no other way has. Its agent comes to run."""
    steps = [(kind, commands) for kind, commands in blocks() if kind == "pi" or kind in BY_CODE]
    with debian(beside=hub) as pi, systemd(pi) as on_pi:
        package = _of_now("tributary-agent")
        shutil.copy(package, pi.path("/root") / package.name.replace("_amd64", "_arm64"))
        for kind, commands in steps:
            if kind == "hub-by-code":
                pi.path("/root/typed").write_text(_walk(hub, commands, again=False))
                shutil.copy(hub.path("/etc/tributary/ca.crt"), pi.path("/etc/tributary/ca.crt"))
            else:
                _walk(pi, f"exec <typed\n{commands}" if kind == "pi-by-code" else commands, again=False)
        _end(on_pi)
    return sum(kind in BY_CODE for kind, _ in steps)


def _walk(machine: Debian, commands: str, again: bool) -> str:
    """The whole block in one shell, as it would be pasted. A question is asked until there is an answer."""
    if not again:
        return machine.run("sh", "-euc", f"cd /root\n{commands}", seconds=60)
    said: list[str] = []

    def is_there() -> bool:
        done = machine.attempt("sh", "-euc", f"cd /root\n{commands}")
        said.append(done.stdout)
        return done.returncode == 0 and bool(_readings(done.stdout))

    try:
        until(is_there, "a reading")
    except Fault as fault:
        raise Fault(f"{fault}; {commands.strip()} says:\n{said[-1]}") from fault
    return said[-1]


def _readings(said: str) -> set[str]:
    """The names of series that have a reading."""
    try:
        return {one["series"]["name"] for one in json.loads(said)["latest"] if one["point"]}
    except (ValueError, KeyError):
        return set()


def _somebody(hub: Debian) -> None:
    """The dashboard has a subject to draw, and what the Pi reads is about it: else it says that none is set up."""
    said = hub.run("curl", "--silent", "--show-error", "http://127.0.0.1:8080/api/v1/subjects")
    about = {one["name"] for subject in json.loads(said)["subjects"] for one in subject["series"]}
    holds(OF_THE_MACHINE <= about, f"of no subject are {', '.join(sorted(OF_THE_MACHINE - about))} in {said[:2000]}")


def _copy(commands: str, hub: Debian, pi: Debian) -> None:
    """From the hub to the Pi, which in the page ssh does."""
    for line in commands.splitlines():
        found = re.fullmatch(r"scp -3 root@hub:(\S+) root@pi:(\S*)", line)
        if not found:
            raise Fault(f"this copies nothing that a check could copy: {line}")
        target = pi.path("/root") / found[2]
        shutil.copy(hub.path(found[1]), target / Path(found[1]).name if target.is_dir() else target)


def lintian() -> str:
    """Debian's own judgement. Who makes packages for themselves need not have an address."""
    tools, faults = TAR.with_name("tools.tar"), ""
    passed = [] if os.environ.get("DEBEMAIL") else ["--suppress-tags=bogus-mail-host,bogus-mail-host-in-debian-changelog"]
    with debian(tools) as machine:
        for package in made():
            shutil.copy(package, machine.path("/tmp"))
            said = machine.attempt("lintian", "--no-cfg", "--fail-on=error,warning", *passed, f"/tmp/{package.name}", seconds=300)
            faults += said.stdout if said.returncode else ""
    if faults:
        raise Fault(faults)
    if not MADE.exists():
        raise Skipped("no packages")
    return f"{len(made())} packages"
