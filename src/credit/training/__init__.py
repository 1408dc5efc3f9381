"""A training job: the loop, what it trains, its checkpoints."""
