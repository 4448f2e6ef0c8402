"""Build the atlas of finished runs: `python scripts/build_atlas.py RUN... --out DIR`."""

import sys

from emosae.cli import main

if __name__ == "__main__":
    sys.exit(main(["atlas", "build", *sys.argv[1:]]))
