"""Networks: blocks, losses, initialisation."""
