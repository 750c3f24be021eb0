"""What the checks of containers share: where things are, and programs that end with their check."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from judging import ROOT, SECONDS_MAX, Fault, Skipped

HERE = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "target/terraform"
UNPACKED = ROOT / "target/containers/root"
BUILT = Path(os.environ.get("TRIBUTARY_BUILT") or ROOT / "target/debug")


def need(path: Path, how: str) -> Path:
    """A program that a check runs."""
    if not path.exists():
        raise Skipped(f"{path.name} is not here: {how}")
    return path


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
