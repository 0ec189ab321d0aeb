"""The option `strict`: whether inputs that are damaged but can be read are errors."""

STRICT_HELP = "Refuse inputs that are cut short or whose clock jumps."
"""Help text of the option."""
