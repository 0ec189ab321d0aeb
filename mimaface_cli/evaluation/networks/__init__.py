"""Networks whose outputs the metrics compare, and the loading of their weights."""
