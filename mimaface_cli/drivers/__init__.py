"""Drivers: everything that animates a face, turned into a MotionTrack."""
