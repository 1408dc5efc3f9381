"""Dynamic inversion: what goes down is what would have to come up."""
