"""Rendered people: unlimited clips of faces whose every coefficient is known, to train and measure small models on."""
