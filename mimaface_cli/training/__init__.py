"""Training: data preparation, losses, the paper's two stages, parallelism, validation."""
