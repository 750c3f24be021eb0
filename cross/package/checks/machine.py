"""A Debian 12 of a check's own: its files, its processes, its network. It ends with the check, and leaves nothing mounted."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from judging import ROOT, SECONDS_MAX, Fault, Skipped, attempt, holds, until

TAR = ROOT / "target/package/root.tar"
# Loopback is up, and the processes see themselves; what is mounted here is mounted nowhere else, and gone with the last of them.
BEGIN = 'mount -t proc proc "$0/proc" && ip link set lo up && : >"$0/run/begun" && exec sleep infinity'
ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")


class Debian:
    """One that is there. Commands are run within it as root."""

    def __init__(self, root: Path, pid: int) -> None:
        self.root, self.pid = root, pid

    def within(self, *command: str | Path) -> list[str]:
        """A command, as it is to be said outside."""
        return self.entered("chroot", self.root, *self.clean(*command))

    def entered(self, *command: str | Path) -> list[str]:
        """A command of the outside, in its name spaces."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--uts", "--ipc", *map(str, command)]

    def clean(self, *command: str | Path) -> list[str]:
        """A command of the inside, with an environment that owes nothing to the outside."""
        return ["/usr/bin/env", "-i", *ENVIRONMENT, *map(str, command)]

    def attempt(self, *command: str | Path, seconds: float = SECONDS_MAX) -> subprocess.CompletedProcess[str]:
        """A command that may fail."""
        return attempt(*self.within(*command), seconds=seconds)

    def run(self, *command: str | Path, seconds: float = SECONDS_MAX) -> str:
        """What a command says; a Fault with it where it fails."""
        done = self.attempt(*command, seconds=seconds)
        holds(done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def install(self, package: Path) -> str:
        """What dpkg says."""
        shutil.copy(package, self.root / "tmp")
        return self.run("dpkg", "--install", f"/tmp/{package.name}", seconds=60)

    def path(self, name: str) -> Path:
        """Where a file of it is, seen from outside."""
        return self.root / name.lstrip("/")


@contextmanager
def debian(tar: Path = TAR, beside: Debian | None = None) -> Iterator[Debian]:
    """A new one; `beside` another it is on the same network."""
    if os.geteuid() != 0:
        raise Skipped("needs root")
    if not tar.exists():
        raise Skipped(f"{tar.relative_to(ROOT)} is not there: cross/package/root, which needs root, and mmdebstrap or debootstrap")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", tar, "--numeric-owner"], check=True)
        os.chmod(folder, 0o755)
        network = ["nsenter", f"--target={beside.pid}", "--net"] if beside else ["unshare", "--net"]
        apart = [*network, "unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL", "sh", "-c", BEGIN, str(root)]
        with subprocess.Popen(apart, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as outer:
            try:
                until(lambda: (root / "run/begun").exists() or outer.poll() is not None, "a Debian of its own")
                if outer.poll() is not None:
                    raise Skipped(f"the system gives no name spaces: {outer.stderr.read().strip()}")
                children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
                holds(len(children) == 1, f"{len(children)} processes begin it")
                yield Debian(root, int(children[0]))
            finally:
                outer.kill()


def fault_unless(text: str, said: str) -> None:
    """`text` is to be in what was said."""
    if text not in said:
        raise Fault(f"nothing says {text!r}:\n{said}")
