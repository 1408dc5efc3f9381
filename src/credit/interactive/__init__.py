"""Experiments from Python, without Snakemake: what defines a run, the run itself, and what runs have kept."""
