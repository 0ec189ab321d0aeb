"""Numerical fixtures: released numbers that our own implementation must meet. Run: python -m tests.goldens DIR."""
