"""The units as they are installed: systemd knows every line of them, and their programs are where they say."""

from __future__ import annotations

import re
from pathlib import Path

from judging import holds, run
from machine import Debian

# Newer ones know how to wait ever longer.
NEWER = re.compile("RestartSteps|RestartMaxDelaySec")


def verify(machine: Debian, name: str) -> None:
    """Its program, its user and its page are there."""
    said = machine.attempt("systemd-analyze", "verify", "--man=no", f"{name}.service").stdout
    wrong = [line for line in said.splitlines() if name in line and not NEWER.search(line)]
    holds(not wrong, "\n".join(wrong))
    unit = machine.path(f"/usr/lib/systemd/system/{name}.service").read_text()
    for page, section in re.findall(r"man:([-\w]+)\((\d)\)", unit):
        holds(machine.path(f"/usr/share/man/man{section}/{page}.{section}.gz").exists(), f"{name}: there is no {page}({section})")


def is_enabled(machine: Debian, name: str) -> bool:
    """Whether it would start with the machine."""
    return machine.attempt("systemctl", "is-enabled", f"{name}.service").stdout.strip() == "enabled"


def rules(machine: Debian, name: str) -> None:
    """udev takes each line of the rules, and gives a serial port of this machine to its group."""
    run("nsenter", f"--target={machine.pid}", "--mount", "--net", "mount", "-t", "sysfs", "-o", "ro", "sysfs", machine.path("/sys"))
    port = next((path for path in sorted(Path("/sys/class/tty").iterdir()) if re.match(r"tty(S|USB|ACM|AMA)\d", path.name)), None)
    if port is None:
        print("skipped: life: udev's rules are not tried: no serial port is here", flush=True)
        return
    said = machine.run("udevadm", "test", "--action=add", f"/sys/class/tty/{port.name}")
    own = [line for line in said.splitlines() if f"{name}.rules:" in line]
    wrong = [line for line in own if "nvalid" in line or "nknown" in line or "gnoring" in line]
    holds(not wrong, "\n".join(wrong))
    group = machine.run("getent", "group", "dialout").split(":")[2]
    holds(any(line.endswith(f"GROUP {group}") for line in own), f"{port.name} is given to nobody by {name}.rules:\n{said}")
