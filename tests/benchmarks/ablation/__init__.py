"""Ablations of the paper at small scale, on rendered people: see `python -m tests.benchmarks.ablation --help`."""
