"""Draw trials of a hyperparameter search, train them and write the best: SPEC -> choice.json."""

import argparse
import os
import sys
from pathlib import Path

import _src  # noqa: F401

from credit.errors import one_line
from credit.provenance.records import checkpoint_path
from credit.provenance.spec import read_spec
from credit.training.reuse import take_block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", help="JSON text, or a file that holds it")
    parser.add_argument("out", type=Path, help="choice.json")
    parser.add_argument("inputs", nargs="*", type=Path, help="prepared data set (.npz), weights to start from")
    parser.add_argument("--device", default="auto", choices=("cpu", "cuda", "auto"))
    parser.add_argument("--checkpoint-every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--store", type=Path, metavar="FOLDER", help="finished blocks, to take from and to keep in")
    args = parser.parse_args()
    with one_line():
        spec = read_spec(args.spec)
        if take_block(args.store, spec, args.out, args.inputs, args.device):
            return
        os.environ["OMP_NUM_THREADS"] = str(spec["train"]["threads"])
        from credit.training.trials import sample

        checkpoint = checkpoint_path(args.out)
        sample(spec, args.out, args.inputs, args.device, checkpoint, args.checkpoint_every, sys.argv[0], args.store)


if __name__ == "__main__":
    main()
