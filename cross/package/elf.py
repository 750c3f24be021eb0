"""What a program is and needs, as readelf tells: its architecture, and the Debian packages of its libraries."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

# The machine as readelf prints it, and what it is to say of what that machine must have.
ARCHITECTURES = {
    "amd64": ("Advanced Micro Devices X86-64", ()),
    "arm64": ("AArch64", ()),
    # Of ARM's 32 bits, what the oldest Raspberry Pi has, and no more.
    "armhf": ("ARM", ("Tag_CPU_arch: v6", "Tag_FP_arch: VFPv2", "Tag_ABI_VFP_args: VFP registers")),
}
# Where a library is of another package than the C library.
PACKAGES = {"libgcc_s.so.1": "libgcc-s1"}
OF_LIBC = re.compile(r"^(libc|libm|libdl|libpthread|librt|ld-linux[-a-z0-9]*)\.so\.\d+$")


def _readelf(option: str, program: Path) -> str:
    return subprocess.run(["readelf", "--wide", option, program], check=True, capture_output=True, text=True).stdout


def is_for(program: Path, architecture: str) -> bool:
    """Whether each machine of that kind runs it, as far as it says so itself."""
    machine, wanted = ARCHITECTURES[architecture]
    if not re.search(rf"^\s*Machine:\s+{re.escape(machine)}$", _readelf("--file-header", program), re.M):
        return False
    said = {line.strip() for line in _readelf("--arch-specific", program).splitlines()}
    return said.issuperset(wanted)


def lists_crates(program: Path) -> bool:
    """Whether it carries the list of what it is made of, as `cargo auditable` leaves it."""
    return " .dep-v0 " in _readelf("--section-headers", program)


def dependencies(program: Path) -> list[str]:
    """What it depends on: nothing where it is static."""
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", _readelf("--dynamic", program))
    strange = [library for library in needed if library not in PACKAGES and not OF_LIBC.match(library)]
    if strange:
        raise SystemExit(f"{program} needs {', '.join(strange)}: say in elf.py which package has it")
    if not needed:
        return []
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", _readelf("--version-info", program))
    newest = max((int(major), int(minor)) for major, minor in versions)
    others = sorted({PACKAGES[library] for library in needed if library in PACKAGES})
    return [f"libc6 (>= {newest[0]}.{newest[1]})", *others]
