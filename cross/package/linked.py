"""What is linked into programs and is no crate of Cargo.lock: SQLite, which comes within a crate, Rust's standard library
and, where they are static, musl and what zig brings. The licences and the lists of parts both name it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / "target/cross/tools"
ZIG = "0.17.0"
MUSL = "1.2.5"


@dataclass(frozen=True)
class Part:
    """One of them: its licence as SPDX writes it, where its source can be had, and its notices, in texts/."""

    name: str
    version: str
    licence: str
    source: str
    texts: tuple[str, ...]
    authors: str = ""
    cpe: str = ""  # as advisories name it


def is_static(target: str) -> bool:
    """Whether programs of that target have their C library within."""
    return "-musl" in target


def _rust(target: str) -> str:
    """The version of the compiler, whose library is in the program: cross/fetch's for static ones."""
    if not is_static(target):
        return tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    fetched = TOOLS / "rust/version"
    told = fetched.read_text() if fetched.exists() else re.search(r"^tried='(.+)'$", (ROOT / "cross/fetch").read_text(), re.M)[1]
    return told.split("+")[0].strip()


def standard_library(target: str) -> list[Part]:
    """Rust's, and the crates within it that a program for Linux has: the first stands for all."""
    version, either, github = _rust(target), "MIT OR Apache-2.0", "https://github.com"

    def crate(name: str, place: str, licence: str = either) -> Part:
        return Part(name, f"in rust-std {version}", licence, f"{github}/{place}", (name,))

    return [
        Part("rust-std", version, f"({either}) AND Unicode-3.0", f"{github}/rust-lang/rust", ("rust", "libc", "unicode"),
             "The Rust Project Contributors, The Crossbeam Project Developers (2019), Unicode, Inc (1991-2024)"),
        crate("compiler-builtins", "rust-lang/compiler-builtins", f"MIT AND Apache-2.0 WITH LLVM-exception AND ({either})"),
        crate("libm", "rust-lang/compiler-builtins", "MIT"),
        crate("backtrace", "rust-lang/backtrace-rs"),
        crate("addr2line", "gimli-rs/addr2line"),
        crate("adler2", "oyvindln/adler2", f"0BSD OR {either}"),
        crate("cfg-if", "rust-lang/cfg-if"),
        crate("gimli", "gimli-rs/gimli"),
        crate("hashbrown", "rust-lang/hashbrown"),
        crate("libc", "rust-lang/libc"),
        crate("memchr", "BurntSushi/memchr", "Unlicense OR MIT"),
        crate("miniz_oxide", "Frommi/miniz_oxide", "MIT OR Zlib OR Apache-2.0"),
        crate("object", "gimli-rs/object"),
        crate("rustc-demangle", "rust-lang/rustc-demangle"),
    ]  # fmt: skip


def static_parts() -> list[Part]:
    """What only a static program has within."""
    return [
        Part("musl", MUSL, "MIT", "https://musl.libc.org", ("musl",), "Rich Felker and others", f"cpe:2.3:a:musl-libc:musl:{MUSL}:*:*:*:*:*:*:*"),
        Part("zig-runtime", ZIG, "MIT AND Apache-2.0 WITH LLVM-exception", "https://ziglang.org", ("zig", "libunwind"),
             "Zig contributors; LLVM's libunwind"),
    ]  # fmt: skip


def sqlite(crate: Path) -> Part:
    """The one in the folder of libsqlite3-sys, which says its version itself."""
    version = re.search(r'^#define SQLITE_VERSION +"(.+)"$', (crate / "sqlite3/sqlite3.h").read_text(), re.M)[1]
    return Part("sqlite", version, "blessing", "https://sqlite.org", (), "in the public domain", f"cpe:2.3:a:sqlite:sqlite:{version}:*:*:*:*:*:*:*")
