"""The edits of EditOptions, parsed and checked for the space of a track."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.errors import WeightsError
from mimaface_cli.motion.channels import ExpressionMap, parse_preset
from mimaface_cli.motion.editing import Term, apply_edits, expand_preset, list_edited_channels, parse_term
from mimaface_cli.motion.keyframes import Keyframe, parse_keyframe, read_keyframes
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.weights.locate import weights_folder


@dataclass(frozen=True)
class Edits:
    """The options read against the space of the track they are for."""

    terms: list[Term]
    keys: list[Keyframe]
    named: ExpressionMap | None

    def apply(self, track: MotionTrack, notes: list[str]) -> MotionTrack:
        changed, told = apply_edits(track, self.terms, self.keys, self.named)
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
        terms += expand_preset(name, share)
    for how in ("scale", "set", "add"):
        terms += [parse_term(how, text, space, named) for text in getattr(options, how)]
    keys = [] if options.keys_file is None else read_keyframes(options.keys_file, space, named)
    keys += [parse_keyframe(text, space, named) for text in options.keys]
    for channel in list_edited_channels(terms, keys, space, named):  # which also looks up the names in presets
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

    return bfm_names.fit_expression_names(bfm.load(path), face478.load())


def _face_model(given: Path | None) -> Path | None:
    """The BFM09 file given, else one in the weights folder, else None."""
    if given is not None and not given.is_file():
        raise WeightsError(f"{given} does not exist. Give the released BFM09_model_info.mat.", field="bfm")
    installed = weights_folder() / "mimaface" / "bfm09.mat"
    return given or (installed if installed.is_file() else None)
