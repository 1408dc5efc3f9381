"""Train one shard of seeds: SPEC -> OUT. Runs by itself on any machine with torch."""

import argparse
import os
import sys
from pathlib import Path

import _src  # noqa: F401

from credit.errors import one_line
from credit.provenance.kept import kinds
from credit.provenance.records import checkpoint_path
from credit.provenance.spec import read_spec
from credit.training.reuse import take_block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", help="JSON text, or a file that holds it (a result file will do)")
    parser.add_argument("out", type=Path, help="result file, JSON lines")
    parser.add_argument("inputs", nargs="*", type=Path, help="data set (.npz), choice (.json), weights to start from")
    parser.add_argument(
        "--outputs", nargs="*", type=Path, default=[], metavar="FILE",
        help="OUT, and what else is to be written, by its name: for shardS.jsonl the weights are shardS.safetensors, "
        "predictions shardS.predictions.safetensors, the state shardS.state.safetensors",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", choices=("cpu", "cuda", "auto"))
    parser.add_argument("--checkpoint", type=Path, help="default: OUT.ckpt")
    parser.add_argument("--checkpoint-every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--store", type=Path, metavar="FOLDER", help="finished blocks, to take from and to keep in")
    args = parser.parse_args()
    with one_line():
        spec = read_spec(args.spec)
        keep = kinds(args.out, args.outputs)
        if take_block(args.store, spec, args.out, args.inputs, args.device, keep):
            return
        # Before torch is imported: thread pools are sized when they start.
        os.environ["OMP_NUM_THREADS"] = str(spec["train"]["threads"])
        from credit.training.job import train

        checkpoint = args.checkpoint or checkpoint_path(args.out)
        train(
            spec, args.out, args.inputs, args.device, checkpoint, args.checkpoint_every, sys.argv[0], keep, args.store
        )


if __name__ == "__main__":
    main()
