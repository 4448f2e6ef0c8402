"""Run a scenario on a finished run: `python scripts/run_scenarios.py impossible_code --run DIR --out DIR`."""

import sys

from emosae.cli import main

if __name__ == "__main__":
    sys.exit(main(["scenario", "run", *sys.argv[1:]]))
