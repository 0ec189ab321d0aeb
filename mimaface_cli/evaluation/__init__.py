"""Evaluation of results: metrics, lists of pairs, reports and the paper's tables."""
