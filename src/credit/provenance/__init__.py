"""Which code made a result: digests, specs, records. Standard library only."""
