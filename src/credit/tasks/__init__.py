"""Where data comes from, and the shape of the loop over it."""
