"""Weights between those before a model learned and those after: they keep more of what it could do.

    python model/between.py BEFORE AFTER OUT [--share 0.75]

Wortsman et al. 2022, arXiv:2109.01903: weights at some way along the line from one to the other. A weight that was
not trained is the same in both, and stays what it was bit for bit.
"""

import argparse
from pathlib import Path

import torch

from sijo.checkpoints.load import load
from sijo.checkpoints.save import save


def main() -> None:
    """Write the model between the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a model's folder")
    parser.add_argument("after", type=Path, help="that of the model that it became")
    parser.add_argument("out", type=Path, help="a folder that is not there yet")
    parser.add_argument(
        "--share", type=float, default=0.75, help="how far they are from the first to the second (0.75)"
    )
    args = parser.parse_args()
    before, after = load(args.before), load(args.after)
    old = before.state_dict()
    with torch.no_grad():
        for name, weight in after.state_dict().items():
            if not torch.equal(weight, old[name]):
                weight.lerp_(old[name], 1 - args.share)
    save(after, args.out)


if __name__ == "__main__":
    main()
