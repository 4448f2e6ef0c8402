"""Rank SAE features by emotion.

`python scripts/rank_features.py --model NAME_OR_DIR --sae DIR_OR_RELEASE:ID --stories FILE.jsonl --out DIR`
"""

import sys

from emosae.cli import main

if __name__ == "__main__":
    sys.exit(main(["rank", *sys.argv[1:]]))
