"""Target propagation whose feedback weights minimise a difference reconstruction loss, layer-wise or direct."""
