"""What packages are and do. `cross/package/check [NAME...]`."""

import sys

import contents
import life
import page
import timed
import units
from judging import judge

# What takes longest begins first.
CHECKS = [
    ("page", page.page),
    ("life", life.life),
    ("both", life.both),
    ("timed", timed.timed),
    ("again", contents.again),
    ("contents", contents.contents),
    ("ids", units.ids),
]

if __name__ == "__main__":
    long = {"lintian": page.lintian}
    sys.exit(judge(CHECKS + [one for one in long.items() if one[0] in sys.argv], sys.argv[1:]))
