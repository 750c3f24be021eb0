"""Says which Rust tests of the last run could not try something here, and why: a test that passed is silent, and what it
skipped was not shown. Wrong where CI=true, which has all of it."""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as tree

from judging import ROOT

# Where `tests/nextest.toml` lets it be written.
REPORT = ROOT / "target/nextest/default/junit.xml"
SIGN = "skipped: "


def skips(report: tree.Element) -> list[str]:
    """Each `skipped: reason` of a test, behind its name."""
    return [
        f"{SIGN}{case.get('classname')} {case.get('name')}: {line.removeprefix(SIGN)}"
        for case in report.iter("testcase")
        for stream in ("system-out", "system-err")
        for line in (case.findtext(stream) or "").splitlines()
        if line.startswith(SIGN)
    ]


if __name__ == "__main__":
    report = tree.parse(REPORT).getroot()
    if report.find(".//testcase") is None:
        sys.exit(f"{REPORT} has no test")
    found = skips(report)
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(int(bool(found) and os.environ.get("CI") == "true"))
