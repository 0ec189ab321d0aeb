"""Numerical fixtures: released numbers that the implementation must reproduce. Run: python -m tests.goldens DIR."""
