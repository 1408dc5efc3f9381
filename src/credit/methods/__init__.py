"""Learning rules, one file each, found by file name; their machinery lies in packages by concept."""
