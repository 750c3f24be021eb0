"""The units as they are installed: systemd knows every line of them, and their programs are where they say."""

from __future__ import annotations

import re
from pathlib import Path

from judging import ROOT, holds, left_out, run
from machine import Debian

RULES = ROOT / "cross/package/70-tributary-agent.rules"
KNOWN = ROOT / "agent/src/source/device/probe/known.rs"
# What brings serial ports of a kind, where it is no part of the kernel itself.
DRIVERS = {"ttyS": None, "ttyAMA": None, "ttyUSB": "usbserial", "ttyACM": "cdc_acm"}
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


def drivers(machine: Debian, name: str) -> None:
    """What it may open is let in by the name of a driver: one that is loaded with the first device of its kind must be loaded
    before the service starts, or that device, plugged in later, is refused."""
    unit = machine.path(f"/usr/lib/systemd/system/{name}.service").read_text()
    holds(machine.path("/usr/lib/systemd/system/modprobe@.service").exists(), "this systemd cannot load a driver for a service")
    for kind in re.findall(r"^DeviceAllow=char-(\w+)", unit, re.M):
        holds(kind in DRIVERS, f"{name}: say in units.py which driver brings {kind}")
        loads = f"modprobe@{DRIVERS[kind]}.service"
        for setting in ("Wants", "After") if DRIVERS[kind] else ():
            named = " ".join(re.findall(rf"^{setting}=(.*)$", unit, re.M)).split()
            holds(loads in named, f"{name}: {kind} is allowed, and there is no {setting}={loads}")


def ids() -> str:
    """udev's rules keep ModemManager from each device that the agent knows by its ids."""
    known = {(vendor, product) for vendor, product in re.findall(r"\(0x(\w{4}), 0x(\w{4})\)", KNOWN.read_text())}
    holds(known, f"{KNOWN.name} has no ids: this check takes it for another file than it is")
    lines = [line for line in RULES.read_text().splitlines() if "ID_MM_DEVICE_IGNORE" in line]
    ignored = [(re.search(r'idVendor}=="(\w+)"', line)[1], re.search(r'idProduct}=="([\w|]+)"', line)) for line in lines]

    def is_ignored(vendor: str, product: str) -> bool:
        return any(of == vendor and (which is None or product in which[1].split("|")) for of, which in ignored)

    missing = sorted(f"{vendor}:{product}" for vendor, product in known if not is_ignored(vendor, product))
    holds(not missing, f"ModemManager would speak to {', '.join(missing)}: {RULES.name} is to name what {KNOWN.relative_to(ROOT)} knows")
    return f"{len(known)} devices"


def is_enabled(machine: Debian, name: str) -> bool:
    """Whether it would start with the machine."""
    return machine.attempt("systemctl", "is-enabled", f"{name}.service").stdout.strip() == "enabled"


def rules(machine: Debian, name: str) -> None:
    """udev takes each line of the rules, and gives a serial port of this machine to its group."""
    run("nsenter", f"--target={machine.pid}", "--mount", "--net", "mount", "-t", "sysfs", "-o", "ro", "sysfs", machine.path("/sys"))
    port = next((path for path in sorted(Path("/sys/class/tty").iterdir()) if re.match(r"tty(S|USB|ACM|AMA)\d", path.name)), None)
    if port is None:
        left_out("life: udev's rules are not tried: no serial port is here")
        return
    said = machine.run("udevadm", "test", "--action=add", f"/sys/class/tty/{port.name}")
    own = [line for line in said.splitlines() if f"{name}.rules:" in line]
    wrong = [line for line in own if "nvalid" in line or "nknown" in line or "gnoring" in line]
    holds(not wrong, "\n".join(wrong))
    group = machine.run("getent", "group", "dialout").split(":")[2]
    holds(any(line.endswith(f"GROUP {group}") for line in own), f"{port.name} is given to nobody by {name}.rules:\n{said}")
