"""Speech to motion: the embedded lip network over face478 and SadTalker's networks over bfm09."""
