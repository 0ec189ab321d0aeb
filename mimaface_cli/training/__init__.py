"""Training of the paper's two stages: data preparation, losses, stages, parallelism, validation."""
