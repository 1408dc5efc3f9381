"""What is measured besides losses: pure functions of a moment of training."""
