"""All that can be said of the images and compose.yaml where no container engine runs."""

import sys

import gateway
import tools
import words
from common import Fault, Skipped

CHECKS = [
    ("dockerfiles", words.dockerfiles),
    ("compose", words.compose),
    ("units", words.units),
    ("files", tools.files),
    ("roles", tools.roles),
    ("settings", gateway.settings),
    ("image", gateway.image),
    ("proxy", gateway.proxy),
]


def main(names: list[str]) -> int:
    """1 where something is wrong. What was skipped is said, and is never taken for fine."""
    wrong = 0
    for name, check in CHECKS:
        if names and name not in names:
            continue
        try:
            print(f"ok: {name}: {check()}", flush=True)
        except Skipped as why:
            print(f"skipped: {name}: {why}", flush=True)
        except Fault as fault:
            wrong = 1
            print(f"fault: {name}:\n{fault}\n", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
