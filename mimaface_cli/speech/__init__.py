"""Speech to motion: embedded lip network (face478) and SadTalker's networks (bfm09)."""
