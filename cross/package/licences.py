"""Who else's work is in a program, and under which terms: each crate with its version, its licence, where its source can be
had and the texts that it came with; SQLite, the standard library and, where it is static, the C library; and, in the
gateway, what the dashboard is made with."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
from pathlib import Path

import linked

ROOT = Path(__file__).resolve().parent.parent.parent
CARGO = os.environ.get("CARGO", "cargo")
NAMES = ("license", "licence", "copying", "copyright", "notice", "unlicense")
# What has such a name and is no text to be read.
OTHERS = (".rs", ".c", ".h", ".py", ".json", ".toml", ".yml", ".html", ".svg")
# Folders in folders, texts and bytes of each: a crate with more is looked at by a person.
DEPTH_MAX, TEXTS_MAX, TEXT_BYTES_MAX = 12, 32, 128 * 1024


def crates(packages: list[str], features: list[str], target: str) -> set[tuple[str, str]]:
    """Name and version of all that is linked into the programs of `packages`."""
    which = [word for package in packages for word in ("--package", package)]
    command = [CARGO, "tree", "--locked", *which, "--edges", "normal", "--prefix", "none", "--target", target,
               "--format", "{p}", "--features", ",".join(features)]  # fmt: skip
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    # "serde v1.0.0 (proc-macro)", "tributary-proto v0.1.0 (/path)", "x v1.0.0 (*)"
    words = (line.split() for line in lines if line)
    return {(word[0], word[1].removeprefix("v")) for word in words if not word[0].startswith("tributary-")}


@functools.cache
def known() -> dict[tuple[str, str], dict]:
    """What cargo knows of each crate, by name and version: the same for all packages."""
    command = [CARGO, "metadata", "--locked", "--all-features", "--format-version", "1"]
    everything = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    return {(crate["name"], crate["version"]): crate for crate in everything["packages"]}


def _texts(folder: Path) -> list[str]:
    """In its folder, and in those of others' work within."""
    found = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        if len(Path(place).relative_to(folder).parts) > DEPTH_MAX:
            raise SystemExit(f"{place} lies deeper than licences are looked for: raise DEPTH_MAX in licences.py")
        found += [Path(place, name) for name in sorted(files) if name.lower().startswith(NAMES) and not name.endswith(OTHERS)]
    if len(found) > TEXTS_MAX or any(path.stat().st_size > TEXT_BYTES_MAX for path in found):
        raise SystemExit(f"{folder} has more or longer texts of licences than expected: look at them, and at the bounds in licences.py")
    return [path.read_text(errors="replace").strip() for path in found]


def _source(crate: dict) -> str:
    """Where it can be had, as the Mozilla Public License wants it told."""
    return crate["repository"] or crate["homepage"] or "the registry that Cargo uses"


def third_parties(packages: list[str], features: list[str], target: str, dashboard: bool) -> str:
    """All of them, as a text. The same text is printed once, and named by its number."""
    numbers: dict[str, int] = {}
    texts: list[str] = []

    def number(text: str) -> int:
        digest = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
        if digest not in numbers:
            numbers[digest] = len(texts) + 1
            texts.append(text)
        return numbers[digest]

    def line(which: str, licence: str, authors: str, source: str, given: list[str]) -> str:
        told = [f"{which}: {licence}", *([authors] if authors else []), source]
        return "; ".join([*told, ", ".join(f"[{number(text)}]" for text in given) or "no text of its own"])

    def of(part: linked.Part) -> str:
        given = [(linked.HERE / "texts" / name).read_text().strip() for name in part.texts]
        return line(f"{part.name} {part.version}", part.licence, part.authors, part.source, given)

    lines, beside = [], linked.standard_library(target) + (linked.static_parts() if linked.is_static(target) else [])
    for key in sorted(crates(packages, features, target)):
        crate = known()[key]
        if not crate["license"]:
            raise SystemExit(f"{key[0]} {key[1]} says nothing of its licence")
        folder = Path(crate["manifest_path"]).parent
        authors = ", ".join(author.split(" <")[0] for author in crate["authors"])
        lines.append(line(" ".join(key), crate["license"], authors, _source(crate), _texts(folder)))
        if key[0] == "libsqlite3-sys":
            beside.insert(0, linked.sqlite(folder))
    which = "Rust's standard library, with what is in it" + (", the C library musl and what zig brings" if linked.is_static(target) else "")
    parts = [
        f"What {' and '.join(packages)} {'is' if len(packages) == 1 else 'are'} made with, beside its own source, which is under the Apache License 2.0: crates, with their\n"
        "licence, their authors, where their source can be had and the number of each text that they came with. The texts\n"
        "follow. The very source of each, which nobody changed, is also what Cargo fetches from the registry that it uses, by\n"
        "the name and the version that are said here.",
        "\n".join(lines),
        f"No crates of its own, and in it too: {which}.\n\n" + "\n".join(of(part) for part in beside),
    ]
    if dashboard:
        parts.append("In the dashboard:\n\n" + (ROOT / "gateway/ui/dist/licenses.md").read_text().strip())
    parts += [f"[{place}]\n\n{text}" for place, text in enumerate(texts, 1)]
    rule = "\n\n" + "-" * 78 + "\n\n"
    return rule.join(parts) + "\n"
