"""Batches of animate jobs: job files, records of the jobs on disk, and workers on this machine or a cluster."""
