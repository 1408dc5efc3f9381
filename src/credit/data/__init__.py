"""Data sets: which exist (`catalog`), how they get here (`fetch`), how they are kept (`prepare`, `load`)."""
