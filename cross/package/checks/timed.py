"""What a package has for timers: units that are copied as docs/watching.md says, and do what they say beside a gateway that runs."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess

from judging import attempt, holds, until
from life import _of_now
from machine import Debian, debian
from manager import Service
from sandbox import within

SHARED = "/usr/share/tributary-gateway"
OWN = "/etc/systemd/system"
BACKUPS = "/var/lib/tributary/backups"
SETTINGS = """[listener]
certificate_file = "/etc/tributary/gateway.crt"
key_file = "/etc/tributary/gateway.key"
authority_file = "/etc/tributary/ca.crt"
[store]
path = "/var/lib/tributary/gateway.db"
"""
IDENTITY = """tributary-certs init --dir /root/ca
tributary-certs issue --dir /root/ca --server localhost --out gateway
cp /root/ca/ca.crt .
chown tributary:tributary gateway.crt gateway.key"""


def timed() -> str:
    """Beside a gateway that runs."""
    with debian() as machine:
        machine.install(_of_now("tributary-gateway"))
        machine.path("/etc/tributary/gateway.toml").write_text(SETTINGS)
        machine.run("sh", "-euc", f"cd /etc/tributary\n{IDENTITY}")
        gateway = Service(machine, "tributary-gateway")
        if not gateway.count("READY=1"):
            gateway.waits("READY=1")
        _by_timer(machine)
        gateway.end()
    return "doctor and backup by their units"


def _by_timer(machine: Debian) -> None:
    """The doctor can look at everything; a backup is whole and nobody else's, and an old one goes once there is a new one."""
    machine.run("sh", "-euc", f"cp {SHARED}/tributary-gateway-*.service {SHARED}/tributary-gateway-*.timer {OWN}/")
    for name in (f"tributary-gateway-{job}.{kind}" for job in ("doctor", "backup") for kind in ("service", "timer")):
        said = machine.attempt("systemd-analyze", "verify", "--man=no", f"{OWN}/{name}").stdout
        holds(name not in said, said)
    (doctor,) = _once(machine, "doctor")
    holds(doctor.returncode in (0, 1), f"the doctor could not look at something:\n{doctor.stdout}")
    holds(re.search(r"^\w+ +certificates ", doctor.stdout, re.M), f"the doctor has looked at no certificate:\n{doctor.stdout}")

    first = _backed_up(machine)
    old = machine.path(f"{BACKUPS}/gateway-20200101T000000Z.db")
    old.write_text("x\n")
    machine.run("touch", "--date=20 days ago", f"{BACKUPS}/{old.name}")
    # The name of each has its second in it.
    until(lambda: machine.run("date", "--utc", "+gateway-%Y%m%dT%H%M%SZ.db").strip() not in first, "the next second")
    second = _backed_up(machine)
    holds(len(first) == 1 and len(second) == 2 and first < second, f"beside {first} and an old one there are {second}")


def _backed_up(machine: Debian) -> set[str]:
    """The copies that are there after one more."""
    for done in _once(machine, "backup"):
        holds(done.returncode == 0, done.stdout)
    there = list(machine.path(BACKUPS).iterdir())
    holds(all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in there if path.stat().st_size > 2), f"others can read what is in {BACKUPS}")
    return {path.name for path in there}


def _once(machine: Debian, job: str) -> list[subprocess.CompletedProcess[str]]:
    """What the unit's commands end with, run one after the other as it says."""
    unit = machine.path(f"{OWN}/tributary-gateway-{job}.service").read_text()
    settings = dict(re.findall(r"^([A-Z]\w+)=(.*)$", unit, re.M))
    variables = dict(word.split("=", 1) for word in shlex.split(settings.get("Environment", "")))

    def plain(word: str) -> str:
        """As systemd hands it over."""
        word = re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word)
        return word.replace("$$", "$").replace("%%", "%")

    commands = re.findall(r"^ExecStart(?:Post)?=(.*)$", unit, re.M)
    return [attempt(*within(machine, settings, [plain(word) for word in shlex.split(command)])) for command in commands]
