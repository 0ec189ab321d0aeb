"""Rendered people: unlimited clips of faces with known coefficients, to train and measure small models on."""
