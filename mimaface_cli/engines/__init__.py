"""Engines: they render a photo or a video under a motion track."""
