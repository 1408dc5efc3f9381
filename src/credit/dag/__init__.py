"""From configuration to jobs: experiments, checks, specs, costs, and the commands about them. Loads no torch."""
