"""Applications: what the commands do, each a function with options and a result."""
