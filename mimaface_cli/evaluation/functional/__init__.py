"""Metric functions: arrays in, numbers out. Nothing here opens a video."""
