"""What the checks of containers share: how one is wrong or skipped, and programs that end with their check."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
TOOLS = ROOT / "target/terraform"
UNPACKED = ROOT / "target/containers/root"
BUILT = Path(os.environ.get("TRIBUTARY_BUILT") or ROOT / "target/debug")
SECONDS_MAX = 30


class Fault(Exception):
    """Something is wrong; its words say what."""


class Skipped(Exception):
    """It could not be looked at; its words say why."""


def holds(condition: object, otherwise: str) -> None:
    """What must be so."""
    if not condition:
        raise Fault(otherwise)


def need(path: Path, how: str) -> Path:
    """A program that a check runs."""
    if not path.exists():
        raise Skipped(f"{path.name} is not here: {how}")
    return path


def run(*command: str | Path, seconds: float = SECONDS_MAX, **environment: str) -> str:
    """What a command prints; a Fault with it where the command fails or does not end."""
    done = attempt(*command, seconds=seconds, **environment)
    holds(done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def attempt(*command: str | Path, seconds: float = SECONDS_MAX, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that may fail."""
    try:
        return subprocess.run([str(word) for word in command], env=os.environ | environment, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False)  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Fault(f"{command[0]} did not end within {seconds} s") from error


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for a condition, within a deadline."""
    ends = time.monotonic() + SECONDS_MAX
    while not condition():
        holds(time.monotonic() < ends, f"{what} did not come within {SECONDS_MAX} s")
        time.sleep(0.05)


def judge(checks: list[tuple[str, Callable[[], str]]], names: list[str]) -> int:
    """Makes those of `checks` that are named, or all. 1 where something is wrong. What was skipped is said, and is never taken
    for fine."""
    wrong = 0
    for name, check in checks:
        if names and name not in names:
            continue
        try:
            print(f"ok: {name}: {check()}", flush=True)
        except Skipped as why:
            print(f"skipped: {name}: {why}", flush=True)
        except Fault as fault:
            wrong = 1
            print(f"fault: {name}:\n{fault}\n", flush=True)
    return wrong


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def running(*command: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A program for as long as a check lasts; what it said is part of what went wrong meanwhile."""
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen([str(word) for word in command], env=os.environ | environment,
                          stdin=subprocess.DEVNULL, stdout=said, stderr=said, text=True) as program:  # fmt: skip
        try:
            yield program
        except Fault as fault:
            said.seek(0)
            end = "\n".join(said.read().splitlines()[-8:])
            raise Fault(f"{fault}\n{' '.join(map(str, command))} said at last:\n{end}") from fault
        finally:
            program.terminate()
            try:
                program.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                program.kill()
