"""Which pages go into a package: some by name, and what these lead to, in the folders that they have in the source tree, so
that their links lead there too."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Where links lead that nobody follows who has the packages alone: to how things are built and tried, and to other ways of running
# them, which need the source tree.
OUTSIDE = ("cross/", "tests/", "terraform/", "gateway/containers/", "README.md", "ARCHITECTURE.md", "CHANGELOG.md")
# The file that a link of Markdown leads to; addresses elsewhere have a colon.
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def led_to(page: Path) -> list[Path]:
    """What a page of the source tree has links to, but for what is outside."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    found = [(page.parent / link).resolve() for link in LINK.findall(text)]
    return [path for path in found if not str(path.relative_to(ROOT)).startswith(OUTSIDE)]


def pages(first: list[Path]) -> list[Path]:
    """These, and all that they lead to."""
    found: set[Path] = set()
    left = list(first)
    while left:
        path = left.pop()
        if path in found:
            continue
        if not path.is_file():
            raise SystemExit(f"{path.relative_to(ROOT)} is not there, and a page leads to it")
        found.add(path)
        left += led_to(path) if path.suffix == ".md" else []
    return sorted(found)
