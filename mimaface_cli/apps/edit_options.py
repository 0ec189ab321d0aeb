"""What a user may ask of `edit`, as words and as checked terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from mimaface_cli.apps.options import AnimateOptions
from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.media.encoding import EncodeOptions
from mimaface_cli.motion.channels import ExpressionMap, parse_preset
from mimaface_cli.motion.editing import Term, change, check_regions, edited_channels, parse_term, preset_terms
from mimaface_cli.motion.keyframes import Keyframe, parse_keyframe, read_keyframes
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.provenance.stamp import ProvenanceOptions
from mimaface_cli.weights.locate import weights_folder

SHORTEST, LONGEST = 0.04, 3600.0  # seconds of a video made from a photo


@dataclass(frozen=True)
class EditOptions:
    """What to change, as written on the command line. set, add, scale: NAME=VALUE; presets: NAME or NAME=SHARE; keys:
    SECONDS:NAME=VALUE; keys_file: CSV of keys; mix: track, photo or video whose `regions` are taken over; strength,
    smooth, speed, start, duration (s): see `mimaface_cli.motion.editing`; grid: NAME=FROM:TO:COUNT, one or two. For a
    photo: seconds and frame_rate of a video. bfm: model file for names and regions in bfm09. The rest as for animate.
    """

    set: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    scale: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    keys_file: Path | None = None
    mix: Path | None = None
    regions: tuple[str, ...] = ("mouth",)
    strength: float = 1.0
    smooth: float = 0.0
    speed: float = 1.0
    start: float = 0.0
    duration: float | None = None
    grid: tuple[str, ...] = ()
    cell: int = 256
    seconds: float | None = None
    frame_rate: Fraction = Fraction(25)
    bfm: Path | None = None
    face: str = "largest"
    output_mode: Literal["full", "crop"] = "full"
    max_size: int = 4096
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    provenance: ProvenanceOptions = field(default_factory=ProvenanceOptions, metadata={"told": False})

    def __post_init__(self) -> None:
        AnimateOptions(face=self.face, output_mode=self.output_mode, max_size=self.max_size)
        if self.seconds is not None and not SHORTEST <= self.seconds <= LONGEST:
            raise InputError(f"--seconds {self.seconds:g}: must lie between {SHORTEST:g} and {LONGEST:g}")
        if not 1 <= self.frame_rate <= 240:
            raise InputError(f"--frame-rate {float(self.frame_rate):g}: must lie between 1 and 240")
        check_regions(self.regions)
        if not 32 <= self.cell <= 1024:
            raise InputError(f"--cell {self.cell}: must lie between 32 and 1024 pixels")

    @property
    def animate(self) -> AnimateOptions:
        """What the shared way from source to picture needs to know."""
        return AnimateOptions(face=self.face, output_mode=self.output_mode, max_size=self.max_size)

    @property
    def changes_time(self) -> bool:
        """Whether the result has other moments than its input."""
        return self.speed != 1 or self.start != 0 or self.duration is not None


@dataclass(frozen=True)
class Edits:
    """The options read against the space of the track they are for."""

    terms: list[Term]
    keys: list[Keyframe]
    named: ExpressionMap | None

    def apply(self, track: MotionTrack, notes: list[str]) -> MotionTrack:
        changed, told = change(track, self.terms, self.keys, self.named)
        notes += told
        return changed


def read_edits(options: EditOptions, space: str, notes: list[str]) -> Edits:
    """The edits asked for, checked for a space. Raises InputError for an unknown name or a value out of range, and
    WeightsError for names in bfm09 without its face model.
    """
    named = _named(options.bfm) if space == "bfm09" else None
    terms = []
    for text in options.presets:
        name, share = parse_preset(text)
        terms += preset_terms(name, share)
    for how in ("scale", "set", "add"):
        terms += [parse_term(how, text, space, named) for text in getattr(options, how)]
    keys = [] if options.keys_file is None else read_keyframes(options.keys_file, space, named)
    keys += [parse_keyframe(text, space, named) for text in options.keys]
    for channel in edited_channels(terms, keys, space, named):  # which also looks up the names in presets
        if channel.readers is not None and channel.array == "expression":
            notes.append(f"{channel.name}: the face model makes all but {channel.residual:.0%} of that movement")
    return Edits(terms, keys, named)


def region_parts(given: Path | None) -> Mapping[str, np.ndarray] | None:
    """For `motion.edit.mix` in bfm09: the parts of an expression by a BFM09 file, found as for names."""
    path = _face_model(given)
    if path is None:
        return None
    from mimaface_cli.face import bfm
    from mimaface_cli.face.bfm_regions import MOUTH_EYES_BROWS, expression_parts

    return expression_parts(bfm.load(path), MOUTH_EYES_BROWS)


def _named(given: Path | None) -> ExpressionMap | None:
    """The map of names onto a BFM09 file, None where there is none."""
    path = _face_model(given)
    if path is None:
        return None
    from mimaface_cli.face import bfm, bfm_names, face478

    return bfm_names.fit_named(bfm.load(path), face478.load())


def _face_model(given: Path | None) -> Path | None:
    """The BFM09 file given, else one in the weights folder, else None."""
    if given is not None and not given.is_file():
        raise WeightsError(f"--bfm {given}: no such file; give the released BFM09_model_info.mat")
    installed = weights_folder() / "mimaface" / "bfm09.mat"
    return given or (installed if installed.is_file() else None)
