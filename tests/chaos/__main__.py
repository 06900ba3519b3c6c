"""Kill at random, and account for it: python -m tests.chaos --rounds 200 --seed 1"""

import argparse
import json
import sys
from pathlib import Path

from tests.chaos.chaos import ChaosRun


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tear", action="store_true", help="publish torn frames: must be caught")
    parser.add_argument("--json", type=Path, help="write the report there, too")
    arguments = parser.parse_args()
    report = ChaosRun(arguments.rounds, arguments.seed, is_tearing=arguments.tear).run()
    text = json.dumps(report, indent=2)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(text)
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
