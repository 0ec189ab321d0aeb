"""Edits of EditOptions, parsed and checked for the space of a track."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.errors import WeightsError
from mimaface_cli.motion.channels import Channel, ExpressionMap, parse_preset
from mimaface_cli.motion.editing import (
    Operation,
    Term,
    apply_edits,
    expand_preset,
    list_edited_channels,
    parse_term,
)
from mimaface_cli.motion.keyframes import Keyframe, parse_keyframe, read_keyframes
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.weights.locate import weights_folder

_OPERATIONS: tuple[Operation, ...] = ("scale", "set", "add")


@dataclass(frozen=True)
class Edits:
    """Edits of channels by name, checked for one space.

    Args:
        terms: Values to scale, set and add, presets included.
        keyframes: Keyframes, their times from the track's start.
        space: The space of the track.
        expression_map: Map of the named expressions to the bfm09 space, or None.
    """

    terms: list[Term]
    keyframes: list[Keyframe]
    space: str
    expression_map: ExpressionMap | None

    @property
    def channels(self) -> list[Channel]:
        """The channels that the edits change, each once."""
        return list_edited_channels(self.terms, self.keyframes, self.space, self.expression_map)

    def apply(self, track: MotionTrack, notes: list[str]) -> MotionTrack:
        """Return the edited track; append notes for the user."""
        edited, edit_notes = apply_edits(track, self.terms, self.keyframes, self.expression_map)
        notes += edit_notes
        return edited


def parse_edits(options: EditOptions, space: str, notes: list[str]) -> Edits:
    """Parse the edits of the options.

    Args:
        options: Options of edit.
        space: Space of the track to edit.
        notes: List to which notes for the user are appended.

    Raises:
        InputError: For an unknown name or a value out of range.
        WeightsError: For a named expression in bfm09 without its face model.
    """
    expression_map = _load_expression_map(options.bfm) if space == "bfm09" else None
    terms = [term for text in options.presets for term in expand_preset(*parse_preset(text))]
    for operation in _OPERATIONS:
        terms += [parse_term(operation, text, space, expression_map) for text in getattr(options, operation)]
    keyframes = []
    if options.keys_file is not None:
        keyframes += read_keyframes(options.keys_file, space, expression_map)
    keyframes += [parse_keyframe(text, space, expression_map) for text in options.keys]
    edits = Edits(terms, keyframes, space, expression_map)
    for channel in edits.channels:  # this also checks the names in presets
        if channel.readers is not None and channel.array == "expression":
            notes.append(f"{channel.name}: the face model represents all but {channel.residual:.0%} of this movement")
    return edits


def load_region_maps(bfm_file: Path | None) -> Mapping[str, np.ndarray] | None:
    """Load the region maps that `motion.mixing.mix_tracks` needs in the bfm09 space.

    Args:
        bfm_file: BFM09 model file, or None for the installed one.

    Returns:
        For mouth, eyes and brows the (64, 64) map from an expression to its part there; None without a model file.

    Raises:
        WeightsError: If the file does not exist or is invalid.
    """
    path = _find_face_model(bfm_file)
    if path is None:
        return None
    from mimaface_cli.face import bfm
    from mimaface_cli.face.bfm_regions import MOUTH_EYES_BROWS, expression_parts

    return expression_parts(bfm.load(path), MOUTH_EYES_BROWS)


def _load_expression_map(bfm_file: Path | None) -> ExpressionMap | None:
    """Fit the named expressions to a BFM09 model; None without a model file."""
    path = _find_face_model(bfm_file)
    if path is None:
        return None
    from mimaface_cli.face import bfm, bfm_names, face478

    return bfm_names.fit_expression_names(bfm.load(path), face478.load())


def _find_face_model(bfm_file: Path | None) -> Path | None:
    """Return the requested BFM09 file, else the one in the weights folder, else None."""
    if bfm_file is not None:
        if not bfm_file.is_file():
            raise WeightsError(f"{bfm_file}: no such file. Give the released BFM09_model_info.mat.", field="bfm")
        return bfm_file
    installed = weights_folder() / "mimaface" / "bfm09.mat"
    return installed if installed.is_file() else None
