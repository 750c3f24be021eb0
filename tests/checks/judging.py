"""What checks of things that are not Rust share: how one is wrong or skipped, commands that end, and how all are judged."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS_MAX = 30
# Most of a check is waiting for programs; more than this machine's processors only makes each one slower.
AT_ONCE = min(os.cpu_count() or 1, 4)


class Fault(Exception):
    """Something is wrong; its words say what."""


class Skipped(Exception):
    """It could not be looked at; its words say why."""


def holds(condition: object, otherwise: str) -> None:
    """What must be so."""
    if not condition:
        raise Fault(otherwise)


def left_out(part: str) -> None:
    """A part of a check that could not be looked at is said, and is wrong where CI=true."""
    holds(os.environ.get("CI") != "true", part)
    print(f"skipped: {part}", flush=True)


def run(*command: str | Path, seconds: float = SECONDS_MAX, cwd: Path | None = None, **environment: str) -> str:
    """What a command prints; a Fault with it where the command fails or does not end."""
    done = attempt(*command, seconds=seconds, cwd=cwd, **environment)
    holds(done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout.strip()}")
    return done.stdout


def attempt(*command: str | Path, seconds: float = SECONDS_MAX, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that may fail."""
    try:
        return subprocess.run([str(word) for word in command], cwd=cwd, env=os.environ | environment, stdin=subprocess.DEVNULL, text=True,
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
    """Makes those of `checks` that are named, or all, some at once; each says how it went and how long it took. 1 where
    something is wrong. What was skipped is said, and is wrong where CI=true, which has all of it."""
    says = threading.Lock()

    def outcome(name: str, check: Callable[[], str]) -> int:
        began, wrong = time.monotonic(), 0
        try:
            line = f"ok: {name}: {check()}"
        except Skipped as why:
            line, wrong = f"skipped: {name}: {why}", int(os.environ.get("CI") == "true")
        except Fault as fault:
            line, wrong = f"fault: {name}:\n{fault}\n", 1
        with says:
            print(f"{line} ({time.monotonic() - began:.0f} s)", flush=True)
        return wrong

    if strange := set(names) - {name for name, _ in checks}:
        print(f"there is no check {sorted(strange)}", flush=True)
        return 2
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = [pool.submit(outcome, name, check) for name, check in checks if not names or name in names]
    # What is neither of the two is a fault of the check, and is shown whole.
    return int(any([one.result() for one in begun]))
