"""The paper's claims in miniature, on rendered people: see `python -m tests.benchmarks.ablation --help`."""
