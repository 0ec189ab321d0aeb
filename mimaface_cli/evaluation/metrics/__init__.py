"""The metrics, one module per family.

Each is registered by one line of `mimaface_cli.evaluation.catalog`.
"""
