"""All that can be said of the images and compose.yaml where no container engine runs."""

import sys

import gateway
import tools
import words
from judging import judge

CHECKS = [
    ("dockerfiles", words.dockerfiles),
    ("secrets", words.secrets),
    ("compose", words.compose),
    ("units", words.units),
    ("files", tools.files),
    ("roles", tools.roles),
    ("database", tools.database),
    ("settings", gateway.settings),
    ("alarms", gateway.alarms),
    ("image", gateway.image),
    ("proxy", gateway.proxy),
]


if __name__ == "__main__":
    sys.exit(judge(CHECKS, sys.argv[1:]))
