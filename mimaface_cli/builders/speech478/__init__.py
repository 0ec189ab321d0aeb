"""The training of the embedded lip network from a folder of clips in which people talk."""
