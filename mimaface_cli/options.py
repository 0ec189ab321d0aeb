"""Fields of option dataclasses: the one place where a default, a range, the choices and the help are written.

The command line, batch columns, settings files and environment variables are made from these definitions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from mimaface_cli.errors import InputError

_KEY = "option"


@dataclass(frozen=True)
class OptionInfo:
    """Definition of one option.

    Args:
        help: Noun phrase or imperative with the unit; the command line adds the default.
        choices: Values that are allowed, or None for any.
        minimum: Lowest value that is allowed, or None.
        maximum: Highest value that is allowed, or None.
        metavar: Placeholder for the value in help texts, or None for the type's.
        expert: Whether only `--help-all` shows the option.
    """

    help: str
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    metavar: str | None = None
    expert: bool = False

    def check(self, name: str, value: object) -> None:
        """Raise InputError, with the field's name, for a value outside the definition; None always passes."""
        if value is None:
            return
        if self.choices is not None and value not in self.choices:
            listed = f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
            raise InputError(f"unknown value {value}. Choose {listed}.", field=name)
        # A comparison with NaN is false, so that NaN is refused.
        above = self.minimum is None or value >= self.minimum  # type: ignore[operator]
        below = self.maximum is None or value <= self.maximum  # type: ignore[operator]
        if not (above and below):
            raise InputError(f"{value} is out of range. {self._range()}", field=name)

    def _range(self) -> str:
        if self.minimum is None:
            return f"Give at most {self.maximum:g}."
        if self.maximum is None:
            return f"Give at least {self.minimum:g}."
        return f"Give a number from {self.minimum:g} to {self.maximum:g}."


def option(default: Any = None, *, factory: Callable[[], Any] | None = None, **definition: Any) -> Any:
    """Return a dataclass field with the definition of an option.

    Args:
        default: Default value; ignored with a factory.
        factory: Makes the default where it is mutable or another dataclass.
        **definition: The arguments of `OptionInfo`.
    """
    metadata = {_KEY: OptionInfo(**definition)}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def option_info(owner: type, name: str) -> OptionInfo:
    """Return the definition of a field of an option dataclass. Raises KeyError for a field without one."""
    return next(f for f in fields(owner) if f.name == name).metadata[_KEY]


def option_default(owner: type, name: str) -> Any:
    """Return the default of a field of an option dataclass."""
    one = next(f for f in fields(owner) if f.name == name)
    return one.default_factory() if callable(one.default_factory) else one.default


def check_options(options: Any) -> None:
    """Check every field of an option dataclass against its definition; call it from `__post_init__`.

    Raises:
        InputError: For the first value outside its choices or its range; `field` is the option's name.
    """
    for one in fields(options):
        if _KEY in one.metadata:
            one.metadata[_KEY].check(one.name, getattr(options, one.name))
