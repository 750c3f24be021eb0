"""Who else's work is in a program, and under which terms: each crate with its version, its licence and the texts that it
came with; and, in the gateway, what the dashboard is made with."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CARGO = os.environ.get("CARGO", "cargo")
NAMES = ("license", "licence", "copying", "copyright", "notice", "unlicense")


def _crates(packages: list[str], features: list[str], target: str) -> set[tuple[str, str]]:
    """Name and version of all that is linked into the programs of `packages`."""
    which = [word for package in packages for word in ("--package", package)]
    command = [CARGO, "tree", "--locked", *which, "--edges", "normal", "--prefix", "none", "--target", target,
               "--format", "{p}", "--features", ",".join(features)]  # fmt: skip
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    # "serde v1.0.0 (proc-macro)", "tributary-proto v0.1.0 (/path)", "x v1.0.0 (*)"
    words = (line.split() for line in lines if line)
    return {(word[0], word[1].removeprefix("v")) for word in words if not word[0].startswith("tributary-")}


@functools.cache
def _known() -> dict[tuple[str, str], dict]:
    """What cargo knows of each crate, by name and version: the same for all packages."""
    command = [CARGO, "metadata", "--locked", "--all-features", "--format-version", "1"]
    everything = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    return {(crate["name"], crate["version"]): crate for crate in everything["packages"]}


def _texts(folder: Path) -> list[str]:
    found = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name.lower().startswith(NAMES))
    return [path.read_text(errors="replace").strip() for path in found]


def third_parties(packages: list[str], features: list[str], target: str, dashboard: bool) -> str:
    """All of them, as a text. The same text is printed once, and named by its number."""
    wanted = _crates(packages, features, target)
    crates = _known()
    numbers: dict[str, int] = {}
    texts: list[str] = []

    def number(text: str) -> int:
        digest = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
        if digest not in numbers:
            numbers[digest] = len(texts) + 1
            texts.append(text)
        return numbers[digest]

    lines = []
    for key in sorted(wanted):
        crate = crates[key]
        if not crate["license"]:
            raise SystemExit(f"{key[0]} {key[1]} says nothing of its licence")
        given = [number(text) for text in _texts(Path(crate["manifest_path"]).parent)]
        authors = ", ".join(author.split(" <")[0] for author in crate["authors"])
        told = f"; {authors}" if authors else ""
        which = ", ".join(f"[{one}]" for one in given) or "no text of its own"
        lines.append(f"{key[0]} {key[1]}: {crate['license']}{told}; {which}")
    parts = [
        f"What {' and '.join(packages)} {'is' if len(packages) == 1 else 'are'} made with, beside its own source, which is under the Apache License 2.0: crates, with their\n"
        "licence, their authors and the number of each text that they came with. The texts follow. The SQLite in\n"
        "libsqlite3-sys is in the public domain. Rust's standard library is under MIT or Apache-2.0, at your choice; a static\n"
        "program also has musl in it, which is under MIT.",
        "\n".join(lines),
    ]
    if dashboard:
        parts.append("In the dashboard:\n\n" + (ROOT / "gateway/ui/dist/licenses.md").read_text().strip())
    parts += [f"[{place}]\n\n{text}" for place, text in enumerate(texts, 1)]
    rule = "\n\n" + "-" * 78 + "\n\n"
    return rule.join(parts) + "\n"
