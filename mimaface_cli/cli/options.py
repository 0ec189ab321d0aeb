"""Command-line options built from the fields of option dataclasses, and options that several commands share."""

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer

from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.trim import Trim
from mimaface_cli.options import option_default, option_info
from mimaface_cli.provenance.provenance_options import ProvenanceOptions

if TYPE_CHECKING:
    from mimaface_cli.cache import Cache

MOTION, OUTPUT, RUN, DIFFUSION = "Motion", "Output", "Run", "Diffusion engine"
FIELDS_OF_FLAGS: dict[str, set[str]] = {}
"""Names of the fields that each flag sets."""

_FIELD = re.compile(r"`([a-z_]+)`")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def flag_of(field: str) -> str:
    """Return the usual flag of a field."""
    return "--" + field.replace("_", "-")


def field_option(owner: type, field: str, *flags: str, panel: str | None = None, **settings: Any) -> Any:
    """Return the Typer option for a field of an option dataclass.

    Args:
        owner: The dataclass; the field's definition provides help, choices and metavar.
        field: Name of the field.
        *flags: The flags, if they differ from the field's name. A boolean with the default True also gets a --no-…
            flag.
        panel: Panel of the help page.
        **settings: Further settings of `typer.Option`.
    """
    info = option_info(owner, field)
    default = option_default(owner, field)
    names = list(flags) or [flag_of(field)]
    FIELDS_OF_FLAGS.setdefault(names[-1], set()).add(field)
    if default is True:
        names[-1] += f"/--no-{names[-1][2:]}"
    help = _FIELD.sub(lambda match: flag_of(match[1]), info.help)
    is_shown = default is not False and isinstance(default, str | int | float | Fraction) and str(default)
    if settings.pop("show_default", True) and is_shown:
        value = "on" if default is True else default
        # In the text, because Typer would print the default on a separate line.
        help = f"{help.removesuffix('.')} (default: {value})."
    return plain_option(
        help,
        *names,
        panel=panel,
        choices=info.choices,
        **{"metavar": info.metavar, "hidden": info.expert} | settings,
    )


def plain_option(
    help: str, *flags: str, panel: str | None = None, choices: tuple[str, ...] | None = None, **settings: Any
) -> Any:
    """Return a Typer option that belongs to no option dataclass.

    The help does not repeat its environment variable, because the epilog explains all of them.
    """
    option = typer.Option(
        *flags,
        help=help,
        rich_help_panel=panel,
        **{"show_default": False, "show_envvar": "envvar" in settings} | settings,
    )
    option.choices = choices
    return option


def engine_option(owner: type, names: Callable[[], list[str]], panel: str) -> Any:
    """Return the option `--engine`.

    The parser checks it, and not the option dataclass alone, so that the rows of job files are checked as well.

    Args:
        owner: Option dataclass with a field `engine`.
        names: Returns the valid names; engines can be registered at run time.
        panel: Panel of the help page.
    """

    def check(name: str | None) -> str | None:
        if name is not None and name not in names():
            raise typer.BadParameter(f"{name[:40]!r} is not one of {', '.join(map(repr, names()))}.")
        return name

    return field_option(owner, "engine", panel=panel, callback=check, autocompletion=names)


def with_choices(command: _Command) -> _Command:
    """Replace `str` in a command's annotations with its choices, so that Typer checks and completes them."""
    annotations: dict[str, Any] = command.__annotations__
    for name, annotation in annotations.items():
        if get_origin(annotation) is not Annotated:
            continue
        kind, info = get_args(annotation)
        choices = getattr(info, "choices", None)
        if choices:
            values: Any = Literal[tuple(choices)]
            is_optional = type(None) in get_args(kind)
            annotations[name] = Annotated[values | None if is_optional else values, info]
    return command


def open_cache(folder: Path | None, is_disabled: bool) -> "Cache | None":
    """Return the cache that `--cache-dir` and `--no-cache` select."""
    from mimaface_cli.cache import Cache

    return None if is_disabled else Cache(folder)


CacheDir = Annotated[
    Path | None,
    plain_option(
        "Folder of the cache (default: MIMAFACE_CACHE_DIR, or the user's cache folder).",
        panel=RUN,
        metavar="DIR",
        hidden=True,
    ),
]
NoCache = Annotated[
    bool, plain_option("Neither use nor fill the cache of motion tracks.", "--no-cache", panel=RUN, hidden=True)
]
Quiet = Annotated[bool, plain_option("Print errors only.", "-q", "--quiet", panel=RUN)]
AsJson = Annotated[bool, plain_option("Print the result as one JSON object.", "--json", panel=RUN)]
PlainJson = Annotated[bool, plain_option("Print one JSON object.", "--json")]
"""For commands without panels of options."""
Overwrite = Annotated[bool, plain_option("Replace outputs that exist.", "--overwrite", panel=OUTPUT)]

TrackOutput = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="PATH", show_default=False, show_envvar=False, help="Track to write (.npz)."
    ),
]

Start = Annotated[str | None, field_option(Trim, "start", panel=MOTION)]
Duration = Annotated[str | None, field_option(Trim, "duration", panel=MOTION)]

Codec = Annotated[str | None, field_option(EncodeOptions, "codec", panel=OUTPUT)]
Crf = Annotated[int | None, field_option(EncodeOptions, "crf", panel=OUTPUT)]
EncoderPreset = Annotated[str | None, field_option(EncodeOptions, "preset", "--encoder-preset", panel=OUTPUT)]
PixelFormat = Annotated[str | None, field_option(EncodeOptions, "pixel_format", panel=OUTPUT)]
Depth = Annotated[str, field_option(EncodeOptions, "depth", panel=OUTPUT)]
Lossless = Annotated[bool, field_option(EncodeOptions, "lossless", panel=OUTPUT)]

Provenance = Annotated[bool, field_option(ProvenanceOptions, "on", "--provenance", panel=OUTPUT)]
Certificate = Annotated[
    Path | None,
    field_option(ProvenanceOptions, "certificate", panel=OUTPUT, envvar="MIMAFACE_C2PA_CERTIFICATE"),
]
PrivateKey = Annotated[
    Path | None,
    field_option(ProvenanceOptions, "private_key", panel=OUTPUT, envvar="MIMAFACE_C2PA_PRIVATE_KEY"),
]
