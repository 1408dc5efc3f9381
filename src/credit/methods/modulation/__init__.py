"""Error-driven modulation of the input: PEPITA's second pass."""
