"""Target propagation: feedback blocks, their losses, and how targets travel down."""
