"""Lays out what a package has in it, and makes a .deb and a .tar.gz of it. The same input gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from string import Template

import elf
import licences
from pages import pages

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# What cross/build calls each architecture's agent. Raspberry Pi OS calls all its machines of 32 bits armhf, the first Pi and
# the Zero too, which know ARMv6 only: with an agent for ARMv7 they would end with an illegal instruction.
TARGETS = {"amd64": "amd64", "arm64": "arm64", "armhf": "armv6"}
RUST_TARGETS = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-musl", "armhf": "arm-unknown-linux-musleabihf"}
# Scripts of the package that are made where there is something for them to do.
SCRIPTS = ("config", "postinst", "prerm", "postrm")


@dataclass
class Package:
    """What there is to say of one."""

    name: str
    summary: str
    programs: list[str]
    unit: Path
    example: Path
    words: dict[str, str]
    depends: list[str]
    more: str = ""
    rules: Path | None = None
    shared: list[Path] = field(default_factory=list)
    pages: list[Path] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    dashboard: bool = False


AGENT = Package(
    name="tributary-agent",
    summary="Keeps every reading of sensors and glucose devices, and sends it\n"
    " Reads serial meters, glucose devices, files and more, commits every reading\n"
    " to local SQLite, and sends it over MQTT with a certificate of its own, until\n"
    " a gateway has confirmed it.\n .\n Not for treatment decisions.",
    programs=["tributary-agent"],
    unit=ROOT / "agent/packaging/tributary-agent.service",
    example=ROOT / "agent/agent.example.toml",
    rules=HERE / "70-tributary-agent.rules",
    pages=[ROOT / f"docs/{name}.md" for name in ("aws-iot", "devices", "raspberry-pi")],
    depends=["adduser", "debconf (>= 0.5) | debconf-2.0"],
    more="Recommends: ca-certificates, tzdata",
    words={
        "DATA": "readings that no gateway has confirmed",
        "FIRST_DATA": "buffer.db*",
        "SETTINGS": "agent.toml 'device.crt*' 'device.key*' receipts.pub",
        "OTHER_SETTINGS": "gateway.toml",
        "SHARED": "ca.crt",
        "GROUPS": "\t# Serial ports belong to this group.\n\tadduser --quiet tributary dialout",
        "AFTER": "\tif [ -d /run/udev ]; then\n\t\tudevadm trigger --action=change --subsystem-match=tty || true\n\tfi",
        "QUESTION": "Delete readings that no gateway has confirmed?\n"
        " When the package is purged, its buffer of readings goes if a gateway has\n"
        " confirmed all of them, and nothing else is in it. If not, or nobody knows,\n"
        " the buffer is kept, and so are buffers that were found damaged, unless you\n say so here.",
        "LEAVING": "agent.leaving",
        "DATA_GOES": "agent.data",
    },
)
GATEWAY = Package(
    name="tributary-gateway",
    summary="Takes readings from devices, commits them, and serves dashboards\n"
    " Ends devices' MQTT connections by their certificates, commits what they send\n"
    " to SQLite or PostgreSQL, tells them what is committed, and serves a dashboard\n"
    " and an API.\n .\n Not for treatment decisions.",
    programs=["tributary-gateway", "tributary-certs"],
    pages=[ROOT / f"docs/{name}.md" for name in ("api", "aws-iot", "restore", "scale", "security")]
    + [ROOT / f"{name}/README.md" for name in ("certs", "gateway/src/store/postgres", "gateway/src/store/sink")],
    unit=ROOT / "gateway/packaging/tributary-gateway.service",
    example=ROOT / "gateway/gateway.example.toml",
    depends=["adduser", "debconf (>= 0.5) | debconf-2.0"],
    more="Recommends: ca-certificates\nSuggests: postgresql",
    shared=[
        ROOT / "gateway/src/store/postgres/roles.sql",
        ROOT / "gateway/containers/compose/alarms.yaml",
        *(ROOT / f"gateway/packaging/tributary-gateway-{job}.{kind}" for job in ("backup", "doctor") for kind in ("service", "timer")),
    ],
    features=["tributary-gateway/aws"],
    dashboard=True,
    words={
        "DATA": "readings and the authority that signs devices",
        "FIRST_DATA": "gateway.db",
        "SETTINGS": "gateway.toml 'gateway.crt*' 'gateway.key*' 'http.crt*' 'http.key*' ca.crl",
        "OTHER_SETTINGS": "agent.toml",
        "SHARED": "ca.crt",
        "GROUPS": "",
        "AFTER": "",
        "QUESTION": "Delete all readings and the authority?\n"
        " When the package is purged, /var/lib/tributary/gateway.db with all readings,\n"
        " its backups, the authority that signs devices' certificates, and the key\n that signs receipts, are kept, unless you say so here.",
        "LEAVING": "gateway.leaving",
        "DATA_GOES": "gateway.data",
    },
)


@dataclass
class Making:
    """One package for one architecture, and where things are."""

    package: Package
    architecture: str
    version: str
    programs: dict[str, Path]
    pages: Path
    epoch: int
    into: Path
    quick: bool = False

    @property
    def stem(self) -> str:
        return f"{self.package.name}_{self.version}_{self.architecture}"


def rust_target(making: Making) -> str:
    """What its programs were built for: with musl where they are static, else with glibc."""
    static = not any(elf.dependencies(path) for path in making.programs.values())
    return re.sub("gnu|musl", "musl" if static else "gnu", RUST_TARGETS[making.architecture])


def make(making: Making) -> list[Path]:
    """The .deb and the .tar.gz."""
    folder = making.into / f".{making.stem}"
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(making, folder)
    depends = control(making, folder)
    _settle(folder, making.epoch)
    deb = making.into / f"{making.stem}.deb"
    pack = ["-Znone"] if making.quick else ["-Zxz"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(making.epoch)}
    command = ["dpkg-deb", "--root-owner-group", *pack, "--build", folder, deb]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    archive = making.into / f"{making.stem}.tar.gz"
    _archive(making, folder, archive)
    shutil.rmtree(folder)
    print(f"{deb.name}: {deb.stat().st_size} bytes; needs {', '.join(depends)}", flush=True)
    return [deb, archive]


def parts(making: Making, program: str) -> bytes:
    """The list of what is in a program, of this very commit."""
    path = ROOT / f"target/sbom/{rust_target(making)}/{program}.cdx.json"
    if not path.exists():
        raise SystemExit(f"{path} is missing: cross/supply/sbom lists what is in each program")
    of = datetime.fromisoformat(json.loads(path.read_text())["metadata"]["timestamp"][:19] + "+00:00")
    if of.timestamp() != making.epoch:
        raise SystemExit(f"{path} is of another commit, of {of}: cross/supply/sbom makes it anew")
    return path.read_bytes()


def lay_out(making: Making, folder: Path) -> None:
    """All files but the package's own."""
    package = making.package

    def put(source: Path | bytes, target: str, mode: int = 0o644) -> Path:
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
        path.chmod(mode)
        return path

    def squeezed(text: bytes) -> bytes:
        return gzip.compress(text, 9, mtime=0)

    documents = f"usr/share/doc/{package.name}"
    for program, path in making.programs.items():
        if not elf.is_for(path, making.architecture):
            raise SystemExit(f"{path} is no program that every machine of {making.architecture} runs")
        if not making.quick and not elf.lists_crates(path):
            raise SystemExit(f"{path} does not say what it is made of: cross/build and cross/supply/ship build what is shipped")
        binary = put(path, f"usr/bin/{program}", 0o755)
        if making.quick and making.architecture == "amd64":  # what is shipped is packed as it was built, so that its hash tells
            subprocess.run(["strip", "--strip-unneeded", binary], check=True)
        for page in sorted((making.pages / "man1").glob(f"{program}*.1")):
            put(squeezed(page.read_bytes()), f"usr/share/man/man1/{page.name}.gz")
        put(making.pages / f"bash/{program}", f"usr/share/bash-completion/completions/{program}")
        put(making.pages / f"zsh/_{program}", f"usr/share/zsh/vendor-completions/_{program}")
        put(making.pages / f"fish/{program}.fish", f"usr/share/fish/vendor_completions.d/{program}.fish")
        if (ROOT / "target/cross") in path.parents:  # one file that runs whatever the C library: meant so
            put(f"{package.name}: statically-linked-binary [usr/bin/{program}]\n".encode(), f"usr/share/lintian/overrides/{package.name}")
        if not making.quick:
            put(squeezed(parts(making, program)), f"{documents}/{program}.cdx.json.gz")
    put(package.unit, f"usr/lib/systemd/system/{package.unit.name}")
    if package.rules:
        put(package.rules, f"usr/lib/udev/rules.d/{package.rules.name}")
    for path in package.shared:
        put(path, f"usr/share/{package.name}/{path.name}")
    for path in pages(package.pages):
        put(path, f"{documents}/{path.relative_to(ROOT)}")
    put(package.example, f"{documents}/examples/{package.example.name.replace('.example', '')}")
    put((HERE / "debian/copyright").read_bytes(), f"{documents}/copyright")
    third = licences.third_parties(package.programs, package.features, rust_target(making), package.dashboard)
    put(squeezed(third.encode()), f"{documents}/third-parties.txt.gz")
    put(squeezed(changelog(making).encode()), f"{documents}/changelog.gz")
    put(squeezed((ROOT / "CHANGELOG.md").read_bytes()), f"{documents}/NEWS.md.gz")


def maintainer() -> str:
    """Who makes the package, as Debian's tools are told."""
    return f"{os.environ.get('DEBFULLNAME', 'Tributary')} <{os.environ.get('DEBEMAIL', 'tributary@localhost')}>"


def changelog(making: Making) -> str:
    """As Debian's tools read it."""
    date = subprocess.run(["date", "--utc", "--rfc-email", f"--date=@{making.epoch}"], check=True, capture_output=True, text=True)
    return (f"{making.package.name} ({making.version}) unstable; urgency=medium\n\n  * See NEWS.md.gz beside this file.\n\n"
            f" -- {maintainer()}  {date.stdout}")  # fmt: skip


def control(making: Making, folder: Path) -> list[str]:
    """What dpkg reads: who it is, what it needs, what is done when. Answers what it depends on."""
    package, own = making.package, folder / "DEBIAN"
    own.mkdir()
    own.chmod(0o755)
    of_libraries = sorted({need for path in making.programs.values() for need in elf.dependencies(path)})
    depends = package.depends + of_libraries
    files = sorted(path for path in folder.rglob("*") if path.is_file() and own not in path.parents)
    words = dict(package.words) | {
        "PACKAGE": package.name, "VERSION": making.version, "ARCHITECTURE": making.architecture, "MAINTAINER": maintainer(),
        "KIBIBYTES": str(sum(-(-path.stat().st_size // 1024) for path in files)), "DEPENDS": ", ".join(depends),
        "MORE": package.more, "SUMMARY": package.summary,
    }  # fmt: skip
    for name in ("LEAVING", "DATA_GOES"):
        words[name] = (HERE / "debian" / words[name]).read_text().rstrip("\n")

    def filled(template: str) -> str:
        text = (HERE / f"debian/{template}.in").read_text()
        for _ in range(2):  # what is filled in may have words of its own
            for word, value in words.items():
                text = text.replace(f"@{word}@", value)
        return "\n".join(line for line in text.split("\n") if line or template not in ("control",)) + ("\n" if template == "control" else "")

    (own / "control").write_text(filled("control"))
    (own / "templates").write_text(filled("templates"))
    for script in SCRIPTS:
        path = own / script
        path.write_text(filled(script))
        path.chmod(0o755)
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (own / "md5sums").write_text("".join(sums))
    for name in ("control", "templates", "md5sums"):
        (own / name).chmod(0o644)
    return depends


def _settle(folder: Path, epoch: int) -> None:
    """The same times and rights, whoever makes it and when."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _archive(making: Making, folder: Path, into: Path) -> None:
    """The same files for systems without dpkg, in a folder with the archive's name; and the licence, which Debian has itself."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = making.epoch
        return entry

    level = 0 if making.quick else 9
    with into.open("wb") as file, gzip.GzipFile("", "wb", level, file, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted((folder / "usr").rglob("*")):
            if not path.is_dir():
                tar.add(path, f"{making.stem}/{path.relative_to(folder)}", recursive=False, filter=plain)
        tar.add(ROOT / "LICENSE", f"{making.stem}/LICENSE", filter=plain)
