"""Training of the eyelid network from videos of faces."""
