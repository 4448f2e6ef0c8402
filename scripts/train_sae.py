"""Train the SAEs of a config: `python scripts/train_sae.py CONFIG.toml --out DIR`."""

import sys

from emosae.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
