"""What packages have in them, for each architecture."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from judging import ROOT, Fault, Skipped, attempt, holds, left_out, run

PACKAGE = ROOT / "cross/package"
sys.path.insert(0, str(PACKAGE))
import elf  # noqa: E402
import linked  # noqa: E402
import pages  # noqa: E402

MADE = Path(os.environ.get("TRIBUTARY_PACKAGES") or ROOT / "target/package/quick")
# Where something may lie.
FOLDERS = ("usr/bin/", "usr/lib/systemd/system/", "usr/lib/udev/rules.d/", "usr/share/")
# How QEMU runs the oldest machine that a package is for: of Raspberry Pis, the first and the Zero.
QEMU = {"arm64": ["qemu-aarch64"], "armhf": ["qemu-arm", "-cpu", "arm1176"]}
ROLES_SQL = ROOT / "gateway/src/store/postgres/roles.sql"
# What somebody who watches a gateway is given, and the page that says so.
ALARMS = ROOT / "gateway/containers/compose/alarms.yaml"
TIMED = sorted(path for path in (ROOT / "gateway/packaging").glob("tributary-gateway-*") if path.suffix in (".service", ".timer"))
WATCHING = ROOT / "docs/watching.md"


def made(name: str = "*", architecture: str = "*", version: str = "*") -> list[Path]:
    """Packages that are there."""
    found = sorted(MADE.glob(f"{name}_{version}_{architecture}.deb"))
    if not found:
        raise Skipped(f"no {name} of {architecture} in {MADE}: make package")
    return found


def members(package: Path) -> list[tarfile.TarInfo]:
    """All files of it."""
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        return tar.getmembers()


def contents() -> str:
    """Nothing strange, nothing writable, nobody's but root's; the program is of the architecture; each has its pages."""
    for package in made():
        said = run("dpkg-deb", "--info", package)
        architecture, name, version = (re.search(rf"^ {word}: (.+)$", said, re.M)[1] for word in ("Architecture", "Package", "Version"))
        files = {member.name.removeprefix("./"): member for member in members(package)}
        for path, member in files.items():
            holds(member.uid == member.gid == 0, f"{package.name}: {path} is {member.uid}:{member.gid}'s")
            holds(member.mode & 0o7022 == 0 and (member.isdir() or member.isfile()), f"{package.name}: {path} has mode {member.mode:o}")
            holds(member.isdir() or path.startswith(FOLDERS), f"{package.name}: {path} lies where nothing should")
        with tempfile.TemporaryDirectory() as folder:
            run("dpkg-deb", "--raw-extract", package, folder)
            _inside(Path(folder), name, architecture, version, files.keys())
        _archive(package.with_suffix(".tar.gz"), files)
    return f"{len(made())} packages"


def _archive(path: Path, files: dict[str, tarfile.TarInfo]) -> None:
    """The same, for systems that do not have the licence themselves."""
    with tarfile.open(path) as tar:
        inside = {member.name.partition("/")[2]: member for member in tar.getmembers()}
        wanted = {name for name, member in files.items() if member.isfile()} | {"LICENSE"}
        holds(inside.keys() == wanted, f"{path.name} has not what the package has, and LICENSE, but for {inside.keys() ^ wanted}")
        holds(tar.extractfile(inside["LICENSE"]).read() == (ROOT / "LICENSE").read_bytes(), f"{path.name}: LICENSE is another text")


def _inside(folder: Path, name: str, architecture: str, version: str, files: object) -> None:
    programs = sorted((folder / "usr/bin").iterdir())
    for program in programs:
        holds(elf.is_for(program, architecture), f"{program.name} is no program of {architecture}")
        for page in (f"usr/share/man/man1/{program.name}.1.gz", f"usr/share/bash-completion/completions/{program.name}",
                     f"usr/share/zsh/vendor-completions/_{program.name}", f"usr/share/fish/vendor_completions.d/{program.name}.fish"):  # fmt: skip
            holds(page in files, f"{name}: {page} is not there")
    for line in (folder / "DEBIAN/md5sums").read_text().splitlines():
        digest, path = line.split("  ")
        holds(hashlib.md5((folder / path).read_bytes()).hexdigest() == digest, f"{name}: {path} is another than its sum")
    documents = folder / f"usr/share/doc/{name}"
    text = gzip.decompress((documents / "third-parties.txt.gz").read_bytes()).decode()
    crates = re.findall(r"^([-\w]+) (\d\S+): (.+?)[;,]", text, re.M)
    holds(len(crates) > 50, f"{name}: {len(crates)} crates have a licence")
    for needed in ("ring", "rustls", "tokio", "libsqlite3-sys"):
        holds(any(crate == needed for crate, *_ in crates), f"{name}: {needed} is not among the licences")
    holds("AS IS" in text, f"{name}: no text of a licence")
    _pages(name, documents, programs)
    _licences(name, text, all(not elf.dependencies(program) for program in programs))
    for script in ("config", "postinst", "prerm", "postrm"):
        path = folder / "DEBIAN" / script
        holds("@" not in path.read_text().replace("$@", ""), f"{name}: {script} has a word that is not filled in")
        run("sh", "-n", path)
    if name == "tributary-gateway":
        shared = folder / "usr/share/tributary-gateway"
        for own in (ROLES_SQL, ALARMS, *TIMED):
            there = shared / own.name
            holds(there.exists() and there.read_bytes() == own.read_bytes(), f"{name}: {there.relative_to(folder)} is not there, or another")
        for own in (ALARMS, *TIMED):
            named = own.name if own == ALARMS else "tributary-gateway-*" + own.suffix
            holds(f"/usr/share/tributary-gateway/{named}" in WATCHING.read_text(), f"docs/watching.md does not say where a package has {own.name}")
        for text in (ROLES_SQL.with_name("rights.rs"), ROLES_SQL.with_name("README.md"), ROOT / "docs/restore.md"):
            holds("/usr/share/tributary-gateway" in text.read_text(), f"{text.relative_to(ROOT)} does not say where a package has roles.sql")
    for program in programs:
        _starts(program, architecture, version)
        if MADE.name != "quick":
            _as_listed(program, architecture, documents)
            holds(elf.lists_crates(program), f"{program.name} does not carry the list of its crates")


def _pages(name: str, documents: Path, programs: list[Path]) -> None:
    """What programs, the example and pages point to is there, where the example says that pages are."""
    examples = list((documents / "examples").iterdir())
    holds(all(f"/usr/share/doc/{name}" in example.read_text() for example in examples), f"{name}: no example says where its pages are")
    for path in programs + examples:
        named = {word.decode() for word in re.findall(rb"(?<![\w./])(?:agent|certs|docs|gateway)/[\w/-]+\.md", path.read_bytes())}
        missing = [word for word in sorted(named) if not (documents / word).is_file()]
        holds(not missing, f"{name}: {path.name} points to {', '.join(missing)}, which the package does not have")
    for page in documents.rglob("*.md"):
        there = [path.relative_to(pages.ROOT) for path in pages.led_to(pages.ROOT / page.relative_to(documents))]
        missing = [str(path) for path in there if not (documents / path).is_file()]
        holds(not missing, f"{name}: {page.relative_to(documents)} leads to {', '.join(missing)}, which the package does not have")


def _as_listed(program: Path, architecture: str, documents: Path) -> None:
    """It is what was built, to the byte, so that hashes of `make reproducible` are its own; its list of parts is for its target."""
    built = [place / program.name for place in (*ROOT.glob("target/cross/*"), ROOT / "target/dist", ROOT / "target/release")]
    own = program.read_bytes()
    holds(any(path.exists() and path.read_bytes() == own for path in built), f"{program.name} of {architecture} is not as it was built")
    document = json.loads(gzip.decompress((documents / f"{program.name}.cdx.json.gz").read_bytes()))
    target = next(told["value"] for told in document["metadata"]["properties"] if told["name"] == "cdx:rustc:sbom:target:triple")
    machine = {"amd64": "x86_64-", "arm64": "aarch64-", "armhf": "arm"}[architecture]
    holds(target.startswith(machine), f"{program.name} of {architecture}: its list of parts is for {target}")
    static = any(part["name"] == "musl" for part in document["components"])
    holds(static != bool(elf.dependencies(program)), f"{program.name} of {architecture}: its list of parts is of another C library")


def _licences(name: str, text: str, static: bool) -> None:
    """Where each crate's source can be had, which MPL-2.0 wants told, and the notices of what is no crate, or lies within one."""
    for line in re.findall(r"^[-\w]+ \d\S+: .+$", text, re.M):
        holds(re.search(r"; (https?://\S+|the registry that Cargo uses);", line), f"{name}: nobody learns where the source is: {line}")
    needed = ["sqlite 3.", "The Rust Project Contributors", "The fiat-crypto Authors"]
    needed += (["Rich Felker", "musl as a whole", "Zig contributors", "The LLVM Project"] if static else []) + (["uplot"] if name == "tributary-gateway" else [])
    for word in needed:
        holds(word.lower() in text.lower(), f"{name}: {word} is not among the licences")
    # What is kept here is what the tools have that static programs are made with.
    zig = next(linked.TOOLS.glob("python/lib/python*/site-packages/ziglang"), None)
    rust = next(linked.TOOLS.glob("rust/root/usr/src/rustc-*"), None)
    kept = [("musl", zig and zig / "lib/libc/musl/COPYRIGHT"), ("zig", zig and zig / "LICENSE"), ("libunwind", zig and zig / "lib/libunwind/LICENSE.TXT"),
            ("rust", rust and rust / "COPYRIGHT")]  # fmt: skip
    for own, theirs in kept:
        holds(not theirs or theirs.read_bytes() == (PACKAGE / "texts" / own).read_bytes(), f"texts/{own} is another than {theirs}")
    said = zig and (zig / "lib/libc/musl/src/internal/version.h").read_text()
    holds(not said or f'"{linked.MUSL}"' in said, f"linked.py says musl {linked.MUSL}, and zig has {said}")
    holds(not zig or (zig.parent / f"ziglang-{linked.ZIG}.dist-info").exists(), f"linked.py says zig {linked.ZIG}, and another is here")


def _starts(program: Path, architecture: str, version: str) -> None:
    """It says the package's version: here, or in QEMU, where that is here."""
    command: list[str | Path] = [*QEMU.get(architecture, [])]
    if command:
        found = next(iter(ROOT.glob(f"target/cross/**/{command[0]}")), None)
        if found is None:
            left_out(f"contents: {program.name} of {architecture} is not run: {command[0]} is not here")
            return
        command[0] = found
    done = attempt(*command, program, "--version")
    said = re.fullmatch(rf"{program.name} (\S+)\n", done.stdout)
    holds(done.returncode == 0 and said, f"{program.name} of {architecture} ended with {done.returncode}: {done.stdout}")
    # A package may say more of itself, such as how often it was made.
    holds(re.fullmatch(rf"{re.escape(said[1])}([-+~].*)?", version), f"{program.name} in the package of {version} is {said[1]}: it was built before")


def again() -> str:
    """Made again, they are the same to the byte."""
    quick = ["--quick"] if MADE.name == "quick" else []
    first = (MADE / "SHA256SUMS").read_text()
    with tempfile.TemporaryDirectory() as folder:
        run(PACKAGE / "build", *quick, "--into", folder, seconds=300)
        second = Path(folder, "SHA256SUMS").read_text()
    if first != second:
        raise Fault(f"made again, they differ:\n{first}\n{second}")
    return f"{len(first.splitlines())} files, made twice"
