"""From result files to numbers: tables, statistics, verdicts. Knows nothing of torch."""
