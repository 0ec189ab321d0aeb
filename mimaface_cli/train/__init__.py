"""Training and model building."""
