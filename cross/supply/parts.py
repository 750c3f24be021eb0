"""Adds to a list of crates (CycloneDX 1.5), as cargo-cyclonedx makes it, what else is in the program: SQLite, Rust's standard
library, in a static program musl and what zig brings, and in the gateway what the dashboard has from npm.

    parts.py LIST PROGRAM TARGET FEATURES

What is in it because other programs of the workspace want it, by their features, goes: cargo-cyclonedx takes them together.
"""

import base64
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "cross/package"))
import licences  # noqa: E402
import linked  # noqa: E402


def _component(part: linked.Part) -> dict:
    purl = f"pkg:generic/{part.name}@{part.version}"
    told = {
        "type": "library", "bom-ref": purl, "name": part.name, "version": part.version, "scope": "required",
        "licenses": [{"expression": part.licence}], "purl": purl, "externalReferences": [{"type": "website", "url": part.source}],
    }  # fmt: skip
    return told | ({"cpe": part.cpe} if part.cpe else {})


def of_dashboard() -> list[dict]:
    """What is in the dashboard's bundle: all that is no tool for making it."""
    locked = json.loads((ROOT / "gateway/ui/package-lock.json").read_text())["packages"]
    found = []
    for path, package in sorted(locked.items()):
        if not path or package.get("dev"):
            continue
        name = path.rsplit("node_modules/", 1)[1]
        kind, digest = package["integrity"].split("-", 1)
        purl = f"pkg:npm/{name.replace('@', '%40')}@{package['version']}"
        found.append({
            "type": "library", "bom-ref": purl, "name": name, "version": package["version"], "scope": "required",
            "hashes": [{"alg": kind.upper().replace("SHA", "SHA-"), "content": base64.b64decode(digest).hex()}],
            "licenses": [{"expression": package["license"]}], "purl": purl,
        })  # fmt: skip
    return found


def _prune(document: dict, linked_in: set[tuple[str, str]]) -> None:
    """Leaves what is linked in, with our own, and what it was made with, whose scope says so."""

    def stays(part: dict) -> bool:
        return part["scope"] == "excluded" or part["name"].startswith("tributary-") or (part["name"], part["version"]) in linked_in

    gone = {part["bom-ref"] for part in document["components"] if not stays(part)}
    # Named all the same: what the program carries, `cargo auditable` has put together as cargo-cyclonedx does.
    told = sorted(f"{part['name']}@{part['version']}" for part in document["components"] if not stays(part))
    document["metadata"]["properties"] += [{"name": "tributary:not-linked", "value": crate} for crate in told]
    document["components"] = [part for part in document["components"] if stays(part)]
    document["dependencies"] = [entry for entry in document["dependencies"] if entry["ref"] not in gone]
    for entry in document["dependencies"]:
        entry["dependsOn"] = [ref for ref in entry.get("dependsOn", []) if ref not in gone]


def main() -> None:
    """Writes the list anew, with all of it."""
    path, program, target, features = Path(sys.argv[1]), *sys.argv[2:5]
    document = json.loads(path.read_text())
    _prune(document, licences.crates([program], [features] if features else [], target))
    own = document["metadata"]["component"]["bom-ref"]
    needs = {entry["ref"]: entry.setdefault("dependsOn", []) for entry in document.setdefault("dependencies", [])}

    def add(component: dict, user: str) -> None:
        document["components"].append(component)
        document["dependencies"].append({"ref": component["bom-ref"], "dependsOn": []})
        needs[user].append(component["bom-ref"])

    for crate in list(document["components"]):
        if crate["name"] == "libsqlite3-sys":
            folder = Path(licences.known()[crate["name"], crate["version"]]["manifest_path"]).parent
            add(_component(linked.sqlite(folder)), crate["bom-ref"])
    # The first stands for all that is in it.
    for part in linked.standard_library(target)[:1] + (linked.static_parts() if linked.is_static(target) else []):
        add(_component(part), own)
    for component in of_dashboard() if program == "tributary-gateway" else []:
        add(component, own)
    path.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
