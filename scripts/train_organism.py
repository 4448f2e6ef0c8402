"""Train the embedded organism and its shipped SAEs from scratch: seeded, resumable, about half an hour on two cores.

python scripts/train_organism.py --out runs/organism              # train; run again after a kill to go on
python scripts/train_organism.py --out runs/organism --ship      # ... and replace the weights in the package
python scripts/train_organism.py --out runs/organism --card      # print the figures of docs/organism.md
"""

import argparse
from pathlib import Path

from emosae.organism.card import write_card
from emosae.organism.recipe import Recipe, train_organism
from emosae.organism.shipping import ship_organism, train_shipped_saes
from emosae.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/organism"), help="run directory; resumes what lies there"
    )
    parser.add_argument("--seed", type=int, default=0, help="weights, text and order")
    parser.add_argument("--steps", type=int, default=Recipe().steps, help="about 7,500 tokens each")
    parser.add_argument(
        "--ship", action="store_true", help="train the shipped SAEs and put all weights into the package"
    )
    parser.add_argument("--card", action="store_true", help="calibrate, patch and sample, and write card.md")
    args = parser.parse_args()

    store = Store(args.out)
    model = train_organism(Recipe(seed=args.seed, steps=args.steps), store.stage("training"))
    print(f"model: {model}")
    if args.ship:
        saes = train_shipped_saes(model, store.stage("saes"))
        print(f"shipped to: {ship_organism(model, saes)}")
    if args.card:
        print(f"card: {write_card(model, store.stage('training'), store.stage('card'))}")


if __name__ == "__main__":
    main()
