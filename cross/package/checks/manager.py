"""A stand-in of systemd, which is not PID 1 in a check's Debian: `systemctl enable --now` enables the unit with the real
systemctl, and runs what the unit says to start as the unit says, in what of its sandbox name spaces can make; `systemctl
restart` ends it, as at shutdown, and runs it again."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from judging import SECONDS_MAX, Fault, holds, run
from machine import Debian
from sandbox import within

# Asks outside, and waits for the answer: 0 where the service is ready.
SYSTEMCTL = """#!/bin/sh
set -e
case "$1 $2" in
"enable --now") /usr/bin/systemctl enable "$3" && service=$3 ;;
"restart tributary-"*) service=$2 ;;
*) exec /usr/bin/systemctl "$@" ;;
esac
echo "$service" >/run/start.making && mv /run/start.making /run/start
for _ in $(seq 300); do
	[ ! -e /run/started ] || { answer=$(cat /run/started); rm /run/started; echo "$answer"; [ "$answer" = ready ]; exit; }
	sleep 0.1
done
echo "nobody started $service" >&2
exit 1
"""
# Seconds after which systemd would take a service for dead: fewer than in the units, so that a check sees it fed.
WATCHDOG_S = 3


class Service:
    """One that runs, and what it tells."""

    def __init__(self, machine: Debian, name: str) -> None:
        unit = machine.path(f"/usr/lib/systemd/system/{name}.service").read_text()
        self.said: list[str] = []
        self.settings = dict(re.findall(r"^([A-Z]\w+)=(.*)$", unit, re.M))
        holds(self.settings.get("Type") == "notify", f"{name}: nobody would wait for it to be ready")
        path = machine.path(f"/run/notify.{name}")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))
        path.chmod(0o777)
        threading.Thread(target=self._listen, daemon=True).start()
        told = [f"NOTIFY_SOCKET=/run/notify.{name}", f"WATCHDOG_USEC={WATCHDOG_S * 1_000_000}"]
        for before in re.findall(r"^ExecStartPre=(.*)$", unit, re.M):
            run(*within(machine, self.settings, shlex.split(before)))
        self._log = machine.path(f"/var/log/{name}.log")
        command = within(machine, self.settings, ["/usr/bin/env", *told, *shlex.split(self.settings["ExecStart"])])
        with self._log.open("a") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _listen(self) -> None:
        while words := self._socket.recv(4096):
            self.said.append(words.decode())

    def waits(self, for_what: str, seconds: float = SECONDS_MAX) -> None:
        """Until it has said that once more than by now."""
        before, ends = self.count(for_what), time.monotonic() + seconds
        while self.count(for_what) <= before:
            holds(self.process.poll() is None, f"it ended:\n{self._log.read_text()}")
            if time.monotonic() > ends:
                raise Fault(f"it has not said {for_what}, only {self.said}:\n{self._log.read_text()}")
            time.sleep(0.05)

    def count(self, what: str) -> int:
        """How often it has said that."""
        return sum(what in words.split("\n") for words in self.said)

    def end(self) -> None:
        """As at shutdown: it ends by itself, and well. nsenter passes no signal on."""
        inside = [int(pid) for pid in _children(self.process.pid)]
        subprocess.run(["kill", *map(str, inside or [self.process.pid])], check=True)
        holds(self.process.wait(SECONDS_MAX) == 0, f"it ended with {self.process.returncode}:\n{self._log.read_text()}")
        holds(self.count("STOPPING=1") == 1, f"it did not say that it ends, but {self.said[-1:]}")


def _children(pid: int) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


@contextmanager
def systemd(machine: Debian) -> Iterator[dict[str, Service]]:
    """Starts what `systemctl` within is asked to start; the services by their names."""
    path = machine.path("/usr/local/sbin/systemctl")
    path.write_text(SYSTEMCTL)
    path.chmod(0o755)
    services: dict[str, Service] = {}
    over = threading.Event()

    def serve() -> None:
        asked = machine.path("/run/start")
        while not over.wait(0.05):
            if not asked.exists():
                continue
            name = asked.read_text().strip()
            asked.unlink()
            answer = "ready"
            try:
                if name in services:
                    services[name].end()
                services[name] = Service(machine, name)
                if not services[name].count("READY=1"):
                    services[name].waits("READY=1")
            except Exception as error:  # noqa: BLE001 # whoever asked is told
                answer = f"failed: {error}"
            machine.path("/run/started.making").write_text(answer)
            machine.path("/run/started.making").rename(machine.path("/run/started"))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield services
    finally:
        over.set()
        thread.join(SECONDS_MAX)
