"""Training of the mouth network from videos of faces."""
