"""Formats of original files, a module each: `read` gives batches, images uint8 (N, C, H, W) and labels (N,) from 0."""
