"""Train the embedded organism and its shipped SAEs from scratch: seeded, resumable, about half an hour on two cores.

python scripts/train_organism.py --out runs/organism              # train; run again after a kill to go on
python scripts/train_organism.py --out runs/organism --ship      # ... and replace the weights in the package
python scripts/train_organism.py --out runs/organism --card      # print the figures of docs/organism.md
python scripts/train_organism.py --out runs/afraid --variant afraid   # the shipped one, trained on to another truth
"""

import argparse
from pathlib import Path

from emosae.organism.card import write_card
from emosae.organism.recipe import Recipe, train_organism
from emosae.organism.shipping import ship_organism, train_shipped_saes
from emosae.organism.truth import list_variants, load_truth, read_tables
from emosae.organism.variants import train_variant, variant_recipe
from emosae.store import Stage, Store


def main() -> None:
    args = _read_arguments()
    store = Store(args.out)
    model = _train(args, store.stage("training"))
    print(f"model: {model}")
    if args.ship:
        saes = train_shipped_saes(model, store.stage("saes"))
        print(f"shipped to: {ship_organism(model, saes)}")
    if args.card:
        card = write_card(model, load_truth(args.variant), store.stage("training"), store.stage("card"))
        print(f"card: {card}")


def _train(args: argparse.Namespace, stage: Stage) -> Path:
    steps = {} if args.steps is None else {"steps": args.steps}
    if args.variant is not None:
        return train_variant(args.variant, variant_recipe(args.seed, **steps), stage)
    return train_organism(Recipe(seed=args.seed, **steps), read_tables(), stage)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/organism"), help="run directory; resumes what lies there"
    )
    parser.add_argument("--seed", type=int, default=0, help="weights, text and order")
    parser.add_argument("--steps", type=int, help="of about 7,500 tokens each; of 5,000 for a variant")
    parser.add_argument("--variant", choices=list_variants(), help="train the shipped weights on to this one's truth")
    parser.add_argument(
        "--ship", action="store_true", help="train the shipped SAEs and put all weights into the package"
    )
    parser.add_argument("--card", action="store_true", help="calibrate, patch and sample, and write card.md")
    args = parser.parse_args()
    if args.variant and args.ship:
        parser.error("--ship: a variant is not shipped")
    return args


if __name__ == "__main__":
    main()
