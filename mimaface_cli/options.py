"""Fields of option dataclasses: the one place where a default, a range, the choices and the help are written.

The command line, batch columns, settings files and environment variables are derived from these definitions.
"""

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
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
        above: Value that must be exceeded, or None; an exclusive minimum.
        maximum: Highest value that is allowed, or None.
        special: Value outside the range that is allowed as well, such as 0 for no limit, or None.
        unit: Unit of the range in messages, such as "pixels".
        metavar: Placeholder for the value in help texts, or None for the type's.
        expert: Whether only `--help-all` shows the option.
        may_be_path: Whether a text can be a path, of which records keep the name only.
    """

    help: str
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    special: float | None = None
    unit: str = ""
    metavar: str | None = None
    expert: bool = False
    may_be_path: bool = False

    def check(self, name: str, value: object) -> None:
        """Raise InputError, with the field's name, for a value outside the definition; None always passes."""
        if value is None:
            return
        if self.choices is not None and value not in self.choices:
            listed = f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
            raise InputError(f"unknown value {str(value)[:40]!r}. Choose {listed}.", field=name)
        if self.special is not None and value == self.special:
            return
        # A comparison with NaN is false, so that NaN is refused.
        number: Any = value
        is_high_enough = self.minimum is None or number >= self.minimum
        is_above = self.above is None or number > self.above
        is_low_enough = self.maximum is None or number <= self.maximum
        if not (is_high_enough and is_above and is_low_enough):
            raise InputError(f"{_number(number)} is out of range. {self._range()}", field=name)

    def _range(self) -> str:
        """Return the sentence that states the range."""
        lower, upper = self.minimum, self.maximum
        if lower is not None and upper is not None:
            text = f"a number from {_number(lower)} to {_number(upper)}"
        elif lower is not None:
            text = f"at least {_number(lower)}"
        elif self.above is not None:
            text = f"a number above {_number(self.above)}"
            text += "" if upper is None else f" and at most {_number(upper)}"
        else:
            text = f"at most {_number(upper)}"
        unit = f" {self.unit}" if self.unit else ""
        special = "" if self.special is None else f", or {_number(self.special)}"
        return f"Give {text}{unit}{special}."


def _number(value: Any) -> str:
    """Return a number as text: whole numbers in full, others with six significant digits."""
    return str(value) if isinstance(value, int) else f"{float(value):g}"


def option(default: Any = None, *, factory: Callable[[], Any] | None = None, **definition: Any) -> Any:
    """Return a dataclass field with the definition of an option.

    Args:
        default: Default value; ignored with a factory.
        factory: Creates the default if it is mutable or another dataclass.
        **definition: The arguments of `OptionInfo`.
    """
    metadata = {_KEY: OptionInfo(**definition)}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def option_info(owner: type, name: str) -> OptionInfo:
    """Return the definition of a field of an option dataclass. Raises KeyError for a field without one."""
    return _find_field(owner, name).metadata[_KEY]


def may_be_path(definition: Field[Any]) -> bool:
    """Return whether the text in a field of a dataclass can be a path."""
    return _KEY in definition.metadata and definition.metadata[_KEY].may_be_path


def option_default(owner: type, name: str) -> Any:
    """Return the default of a field of an option dataclass."""
    definition = _find_field(owner, name)
    return definition.default_factory() if callable(definition.default_factory) else definition.default


def _find_field(owner: type, name: str) -> Field[Any]:
    return next(definition for definition in fields(owner) if definition.name == name)


def check_options(options: Any) -> None:
    """Check every field of an option dataclass against its definition; call it from `__post_init__`.

    Raises:
        InputError: For the first value outside its choices or its range; `field` is the option's name.
    """
    for definition in fields(options):
        if _KEY in definition.metadata:
            definition.metadata[_KEY].check(definition.name, getattr(options, definition.name))
