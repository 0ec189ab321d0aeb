"""Training of the network that finds what lies in front of a face."""
