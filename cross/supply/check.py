"""Holds lists of parts (CycloneDX 1.5) against their schema, and against the list that `cargo auditable` put into a program.

    check.py LISTS PROGRAMS...

Ends with 1 where a list is not what it should be; where a program is not there, or carries no list, that is said.
"""

import json
import struct
import sys
import zlib
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

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


def faults(path: Path, programs: list[Path]) -> list[str]:
    """What is wrong with one list."""
    text = path.read_text()
    name = path.name.removesuffix(".cdx.json")
    wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if wrong is not None:
        return [f"{path}: not as the schema has it: {wrong}"]
    crates = listed(json.loads(text))
    print(f"{name}: {len(crates)} crates, as CycloneDX 1.5 has it")
    if len(crates) < 10:
        return [f"{path}: hardly a list"]
    program = next((folder / name for folder in programs if (folder / name).exists()), None)
    if program is None:
        print(f"skipped: {name} is not built: nothing to compare with (cross/supply/ship)")
        return []
    inside = carried(program)
    if inside is None:
        print(f"skipped: {program} carries no list: it was not built by cross/supply/ship")
        return []
    found = [f"{name}: {crate} is in the program and not in the list" for crate in sorted(inside - crates)]
    found += [f"{name}: {crate} is in the list and not in the program" for crate in sorted(crates - inside)]
    if not found:
        print(f"{name}: the program carries the same {len(inside)} crates")
    return found


def main() -> int:
    """Checks all lists of a folder."""
    lists, programs = Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]]
    found = [fault for path in sorted(lists.glob("*.cdx.json")) for fault in faults(path, programs)]
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
