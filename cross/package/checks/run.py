"""What packages are and do. `cross/package/check [NAME...]`."""

import sys

import contents
import life
import page
from common import judge

CHECKS = [
    ("contents", contents.contents),
    ("again", contents.again),
    ("life", life.life),
    ("both", life.both),
    ("page", page.page),
]

if __name__ == "__main__":
    long = {"lintian": page.lintian}
    sys.exit(judge(CHECKS + [one for one in long.items() if one[0] in sys.argv], sys.argv[1:]))
