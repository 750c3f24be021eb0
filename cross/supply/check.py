"""Holds lists of parts (CycloneDX 1.5) against their schema, and against the list that `cargo auditable` put into a program.

    check.py [LIST PROGRAM]...

A list is TARGET/NAME.cdx.json. Ends with 1 where one is not what it should be; where a program is not there, or carries no
list, that is said, and with CI=true it is wrong too.
"""

import json
import os
import struct
import sys
import zlib
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parent.parent.parent
# The section of an ELF file that cargo-auditable adds.
SECTION = b".dep-v0"
# Longer ones are not ours.
LIST_BYTES_MAX = 8 * 1024 * 1024


def carried(program: Path) -> set[str] | None:
    """The crates that a program says it is made of, as name@version; none where it says nothing."""
    data = program.read_bytes()
    if data[:4] != b"\x7fELF":
        raise ValueError(f"{program} is no ELF file")
    wide = data[4] == 2
    header = struct.unpack_from("<16xHHIQQQIHHHHHH" if wide else "<16xHHIIIIIHHHHHH", data)
    start, size, count, names = header[5], header[10], header[11], header[12]
    section = "<IIQQQQ" if wide else "<IIIIII"
    sections = [struct.unpack_from(section, data, start + size * index) for index in range(count)]
    strings = sections[names][4]
    for name, _, _, _, offset, length in sections:
        if data[strings + name :].split(b"\0", 1)[0] == SECTION:
            text = zlib.decompressobj().decompress(data[offset : offset + length], LIST_BYTES_MAX)
            return {f"{part['name']}@{part['version']}" for part in json.loads(text)["packages"]}
    return None


def listed(document: dict) -> set[str]:
    """The crates of a list, as name@version, the program's own among them."""
    parts = document["components"] + [document["metadata"]["component"]]
    purls = [part["purl"] for part in parts if part.get("purl", "").startswith("pkg:cargo/")]
    return {purl.removeprefix("pkg:cargo/").split("?", 1)[0].split("#", 1)[0] for purl in purls}


def lacking(document: dict, target: str) -> list[str]:
    """What must be in a list beside crates, and is not there with a version and a licence."""
    program = document["metadata"]["component"]["name"]
    needed = {"generic/rust-std"} | ({"generic/musl", "generic/zig-runtime"} if "-musl" in target else set())
    if program != "tributary-certs":
        needed |= {"cargo/libsqlite3-sys", "generic/sqlite"}
    if program == "tributary-gateway":
        wanted = json.loads((ROOT / "gateway/ui/package.json").read_text())["dependencies"]
        needed |= {f"npm/{name.replace('@', '%40')}" for name in wanted}
    parts = [part for part in document["components"] if part.get("version") and part.get("licenses")]
    return sorted(needed - {part.get("purl", "").removeprefix("pkg:").split("@", 1)[0] for part in parts})


def faults(path: Path, program: Path) -> list[str]:
    """What is wrong with one list."""
    text = path.read_text()
    target = path.parent.name
    name = f"{path.name.removesuffix('.cdx.json')} of {target}"
    wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if wrong is not None:
        return [f"{path}: not as the schema has it: {wrong}"]
    document = json.loads(text)
    crates = listed(document)
    if len(crates) < 10:
        return [f"{path}: hardly a list"]
    found = [f"{path}: {part} is not in it, with version and licence" for part in lacking(document, target)]
    others = len(document["components"]) + 1 - len(crates)
    print(f"{name}: {len(crates)} crates and {others} other parts, as CycloneDX 1.5 has it")
    beside = {told["value"] for told in document["metadata"]["properties"] if told["name"] == "tributary:not-linked"}
    return found + compared(name, crates, beside, program)


def compared(name: str, crates: set[str], beside: set[str], program: Path) -> list[str]:
    """How the list differs from what the program says, which may name crates that only the workspace's other programs have."""
    if not program.exists():
        return skipped(f"{name}: {program} is not built: nothing to compare with")
    inside = carried(program)
    if inside is None:
        return skipped(f"{name}: {program} carries no list: cargo auditable did not build it")
    found = [f"{name}: {crate} is in the program and not in the list" for crate in sorted(inside - crates - beside)]
    found += [f"{name}: {crate} is in the list and not in the program" for crate in sorted(crates - inside)]
    if not found:
        print(f"{name}: the program names the same {len(crates)} crates, and {len(inside - crates)} that are not linked into it")
    return found


def skipped(why: str) -> list[str]:
    """Said; and a fault where nothing may be."""
    print(f"skipped: {why}")
    return [f"{why}; CI=true allows no skips"] if os.environ.get("CI") == "true" else []


def main() -> int:
    """Checks all lists that are named."""
    words = [Path(word) for word in sys.argv[1:]]
    pairs = list(zip(words[::2], words[1::2], strict=True))
    if not pairs:
        sys.exit("no lists to check")
    found = [fault for path, program in pairs for fault in faults(path, program)]
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
