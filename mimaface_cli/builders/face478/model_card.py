"""The model card: contents of a built model, its data, and the measurements."""

import math
from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.face478.column_effects import ColumnEffect
from mimaface_cli.builders.face478.held_out import ColumnScores, ExplainedVariance, Reprojection
from mimaface_cli.builders.face478.model_arrays import CLIP_STEP
from mimaface_cli.builders.face478.observations import FaceData
from mimaface_cli.builders.face478.symmetry import pair_blendshapes
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES

MIN_EFFECT = 1.0  # mm that a column must move its defining measure
MIN_RISE = 0.1  # smallest rise of a score that the card lists


@dataclass(frozen=True)
class Measurements:
    """The figures of a card, on held-out observations unless the name says otherwise.

    Attributes:
        training: Observations that the model was built from.
        held_out: Held-out observations.
        reprojection: Landmark errors on clips.
        explained_training: Explained variance of the training observations.
        explained: Explained variance.
        readout: Correlation of each coefficient estimated from geometry, by name.
        predicted: Correlation of predicted scores within clips, by name.
        predicted_stills: The same over stills.
        effects: Effect of each named column.
        column_scores: Scores of the rendered columns, by name.
    """

    training: FaceData
    held_out: FaceData
    reprojection: Reprojection
    explained_training: ExplainedVariance
    explained: ExplainedVariance
    readout: dict[str, float]
    predicted: dict[str, float]
    predicted_stills: dict[str, float]
    effects: list[ColumnEffect]
    column_scores: dict[str, ColumnScores]


@dataclass(frozen=True)
class BuildInfo:
    """Facts about a build that the card states.

    Attributes:
        about: Origin and license of the data.
        command: The command that built the model.
        skipped: Number of files without a usable face.
        overview: File name of the overview image.
    """

    about: str
    command: str
    skipped: int
    overview: str


def write_card(model: Face478, measured: Measurements, info: BuildInfo) -> str:
    """Return the card as Markdown."""
    reprojection = measured.reprojection
    regions = [[name, f"{value:.2f}"] for name, value in reprojection.regions.items()]
    unscored = ", ".join(f"`{name}`" for name in UNSCORED_BLENDSHAPES[1:])
    sections = [
        f"# face478, the embedded morphable model (version {model.version})",
        _DESCRIPTION,
        f"![The mean face, identity and texture columns at ±2, the effect of each expression column]({info.overview})",
        "## Data",
        info.about,
        _CONTENT,
        _format_table(["", "training", "held out"], _count_rows(measured)),
        f"Files without a usable face: {info.skipped}. The split is by still and by clip, at random. Built with "
        f"`{info.command}`.",
        "## Landmark error on held-out clips",
        f"The model is fitted as in `mimaface extract` (identity from 24 frames of a clip, then pose and expression of "
        f"every {CLIP_STEP}th frame, {reprojection.frames} in all). Irises are excluded.",
        f"- **{reprojection.rms:.2f} px** RMS in the 256 crop (median over frames {reprojection.median:.2f} px)\n"
        f"- **{reprojection.share:.2%}** of the eye distance, mean over landmarks",
        _format_table(["region", "mean error, px"], regions),
        "## Variance explained",
        _format_table(["", "training", "held out"], _variance_rows(measured)),
        "## Effect of each named column",
        _LEGEND,
        _format_table(
            ["column", "defining measure", "effect, mm", "other side", "readout", "predicted", "score", "side effect"],
            [_effect_row(effect, measured) for effect in measured.effects],
        ),
        _summarize_effects(measured),
        "Scores predicted from fitted faces (`score_*`): mean correlation with the landmark model's scores "
        f"{_mean(measured.predicted):.2f} within held-out clips, {_mean(measured.predicted_stills):.2f} over held-out "
        "stills.",
        "The errors of the landmark model's scores were measured on rendered videos of people from the training data: "
        "half with speech from the clips, half with each name moved alone. Fits weigh the scores by the covariance of "
        f"these errors (`score_error`). Largest standard deviations: {_largest_errors(model)}.",
        "## Hand-made columns",
        f"The landmark model never scores {unscored}. Their columns are smooth bumps placed by hand for "
        "editing. A video never drives them. `_neutral` is empty.",
        "## Limits",
        _LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def _count_rows(measured: Measurements) -> list[list[object]]:
    training, held_out = measured.training, measured.held_out
    clip_counts = [len(np.unique(data.clips.subject)) for data in (training, held_out)]
    return [
        ["stills (identity, texture)", len(training.stills.points), len(held_out.stills.points)],
        ["clips (expression)", *clip_counts],
        ["frames of these clips", len(training.clips.points), len(held_out.clips.points)],
    ]


def _variance_rows(measured: Measurements) -> list[list[object]]:
    training, held_out = measured.explained_training, measured.explained
    labels = {
        "named": "movement within clips, by the 52 named columns from the scores alone",
        "expression": "the same movement, by all 64 expression columns fitted",
        "identity": "differences in shape between people, by 80 identity columns",
        "texture": "differences in unlit color between people, by 80 texture columns",
    }
    return [
        [label, f"{getattr(training, field):.1%}", f"{getattr(held_out, field):.1%}"] for field, label in labels.items()
    ]


def _effect_row(effect: ColumnEffect, measured: Measurements) -> list[str]:
    scores = measured.column_scores.get(effect.name)
    has_side_effect = scores is not None and scores.other_rise >= MIN_RISE
    return [
        effect.name + " *" * effect.is_authored,
        effect.measure,
        f"{effect.amount:+.1f}" if effect.amount >= MIN_EFFECT else f"**{effect.amount:+.1f}**",
        _format_number(effect.other_side),
        _format_number(measured.readout.get(effect.name)),
        _format_number(measured.predicted.get(effect.name)),
        "no face" if scores is None else f"{scores.before:.2f} → {scores.after:.2f}",
        f"{scores.other} +{scores.other_rise:.2f}" if scores is not None and has_side_effect else "",
    ]


def _summarize_effects(measured: Measurements) -> str:
    learned = [effect for effect in measured.effects if not effect.is_authored]
    weak = [effect.name for effect in learned if effect.amount < MIN_EFFECT]
    risen = {name for name, scores in measured.column_scores.items() if scores.after - scores.before >= MIN_RISE}
    not_risen = [effect.name for effect in learned if effect.name not in risen]
    return (
        f"{len(learned) - len(weak)} of {len(learned)} learned columns move their defining measure by at least "
        f"{MIN_EFFECT:.0f} mm in the right direction{_format_exceptions(weak)}. On renderings of the mean face under "
        f"one column alone, the landmark model raises the score of the same name by {MIN_RISE} or more for "
        f"{len(learned) - len(not_risen)}{_format_exceptions(not_risen)}."
    )


def _largest_errors(model: Face478, count: int = 6) -> str:
    """List the names with the largest score errors; names with two sides appear once."""
    deviation, mirror = np.sqrt(model.score_error.diagonal()), pair_blendshapes()
    order = [k for k in np.argsort(-deviation, kind="stable") if k <= mirror[k]]
    return ", ".join(f"`{BLENDSHAPES[k].removesuffix('Left')}` {deviation[k]:.2f}" for k in order[:count])


def _format_exceptions(names: list[str]) -> str:
    return f" (not {', '.join(names)})" if names else ""


def _format_table(head: list[str], rows: list) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _format_number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.2f}"


def _mean(values: dict[str, float]) -> float:
    """Return the mean without NaN, 0 if nothing is left."""
    known = [value for value in values.values() if not math.isnan(value)]
    return sum(known) / max(1, len(known))


_DESCRIPTION = f"""A linear model of the face over MediaPipe's 478 landmarks: V = mean + A·identity(80) +
B·expression(64), albedo = mean + C·texture(80). The first {len(BLENDSHAPES)} columns of B have the names of MediaPipe's
blendshape scores and are fitted to them by regression (each eye's for its side); the other 12 are the principal
components of the residual. A and C are principal components over people. The model is mirror-symmetric. `score_*` is a
logistic model of the scores of a fitted face."""

_CONTENT = """The model contains no image. It consists of a mean face and linear directions around it: 80 of shape,
80 of color and 64 of movement."""

_LEGEND = """Each column is applied alone, at score 1, to the mean face.

- *effect*: change of the defining measure in the right direction, on a face with an eye distance of 63 mm (bold: less
  than 1 mm, or the wrong direction).
- *other side*: change of the same measure on the other side of the face, relative to the effect.
- *readout*: correlation with the score over held-out clips when the coefficients are fitted to the movement without
  scores; low for columns that look alike.
- *predicted*: correlation of the score predicted from the fitted face, within held-out clips.
- *score*: the landmark model's score of that name on a rendering of the mean face, at rest and under the column.
- *side effect*: the other score that rises most.

A star marks hand-made columns."""

_LIMITS = """- Landmarks hardly show depth: protruding lips, puffed cheeks and a forward jaw are barely visible in them.
- Scores are MediaPipe's, with its weaknesses: it assigns the same gaze to both eyes, and confuses similar expressions
  (dimple and smile, shrug and roll). Columns of scores that rarely rise in speech are extrapolated to score 1 from
  small values.
- Each eye moves alone, but a one-sided brow or mouth column also moves part of the other side (*other side*).
- The mean is the mean of the data, not of all people. Faces that are rare in the data (children, some skin tones,
  beards, glasses) are fitted less closely. A prior separates albedo from light, so photos from dark rooms get a dark
  albedo.
- There are no ears, neck, tongue or teeth, and no wrinkles: 478 vertices cannot represent them."""
