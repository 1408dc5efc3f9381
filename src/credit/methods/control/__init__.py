"""Deep Feedback Control: a controller drives the network towards a target."""
