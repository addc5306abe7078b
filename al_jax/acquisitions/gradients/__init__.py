"""Methods that look at the last layer's loss gradients."""
