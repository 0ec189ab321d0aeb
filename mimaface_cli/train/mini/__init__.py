"""Training mimaface-mini from scratch: the paper's two stages at a size that one small machine can carry."""
