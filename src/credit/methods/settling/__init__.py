"""What learning rules share whose activities settle in layers that act on each other (Song et al. 2024)."""
