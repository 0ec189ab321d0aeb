"""The model card: what a built model is, what it was built from, and what was measured."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.face478.bases import CLIP_STEP
from mimaface_cli.builders.face478.column_effects import Movement
from mimaface_cli.builders.face478.held_out import Explained, Judgment, Reprojection
from mimaface_cli.builders.face478.learning import Observations, mirror_names
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES

# At least this much of what a name promises, mm; and a rise that the landmark model sees, of a score.
MOVES, SEEN = 1.0, 0.1


@dataclass(frozen=True)
class Measured:
    """The figures of a card: on left-out observations unless said otherwise."""

    learned: tuple[Observations, Observations]
    left_out: tuple[Observations, Observations]
    reprojection: Reprojection
    explained_learned: Explained
    explained: Explained
    readout: dict[str, float]
    predicted: dict[str, float]
    predicted_stills: dict[str, float]
    movements: list[Movement]
    judged: dict[str, Judgment]


def card(model: Face478, measured: Measured, about: str, options: str, skipped: int, picture: str) -> str:
    """The card as Markdown. about: where the data come from; options: how the command was called; skipped: files that
    show no face; picture: file name of the picture beside it.
    """
    stills, clips = measured.learned
    stills_out, clips_out = measured.left_out
    counts = [
        ["stills (identity, texture)", len(stills.points), len(stills_out.points)],
        ["clips (expression)", len(set(clips.subject.tolist())), len(set(clips_out.subject.tolist()))],
        ["frames of these clips", len(clips.points), len(clips_out.points)],
    ]
    before, after = measured.explained_learned, measured.explained
    shares = [
        [what, f"{getattr(before, key):.1%}", f"{getattr(after, key):.1%}"]
        for what, key in (
            ("movement within clips, by the 52 named columns from the scores alone", "named"),
            ("the same, by all 64 expression columns fitted", "expression"),
            ("differences of shape between people, by 80 identity columns", "identity"),
            ("differences of unlit color between people, by 80 texture columns", "texture"),
        )
    ]
    reached = measured.reprojection
    regions = [[name, f"{value:.2f}"] for name, value in reached.regions.items()]
    sections = [
        f"# face478, the embedded morphable model (version {model.version})",
        _WHAT,
        f"![The mean, columns of identity and texture at ±2, and what each expression column alone does]({picture})",
        "## Data",
        about,
        "The model holds no picture: it is a mean face and linear directions around it, 80 of shape, 80 of color and 64 "
        "of movement.",
        _table(["", "learned from", "left out"], counts),
        f"Files without a usable face: {skipped}. The split is by still and by clip, at random. Built with "
        f"`{options}`.",
        "## Landmark error on left-out clips",
        f"The model fitted as `mimaface extract` does (identity from 24 frames of a clip, then pose and expression of "
        f"one frame in {CLIP_STEP}, {reached.frames} in all), irises aside:",
        f"- **{reached.rms:.2f} px** rms in the 256 crop (median of a frame {reached.median:.2f} px)\n"
        f"- **{reached.share:.2%}** of the distance of the eyes, mean over landmarks",
        _table(["region", "mean error, px"], regions),
        "## Variance explained",
        _table(["", "learned from", "left out"], shares),
        "## Does each name move what it says?",
        _LEGEND,
        _table(
            ["column", "what defines it", "moves, mm", "other side", "told", "predicted", "seen alone", "rises too"],
            [_row(one, measured) for one in measured.movements],
        ),
        _summary(measured),
        "Scores predicted from fitted faces (`score_*`): mean correlation with the landmark model's "
        f"{_mean(measured.predicted):.2f} within left-out clips, {_mean(measured.predicted_stills):.2f} over left-out "
        "stills.",
        "How those scores err was measured on drawn videos of people learned from, in half of which they talk as the "
        "clips do and in half each name comes and goes alone (`score_error`, a covariance; whoever fits the model "
        "believes scores as far). Furthest off: " + _furthest(model) + ".",
        "## Columns made by hand",
        "The landmark model never scores "
        + ", ".join(f"`{name}`" for name in UNSCORED_BLENDSHAPES[1:])
        + ". Their columns are "
        "smooth bumps placed by hand so that they can be edited; a video never drives them. `_neutral` is empty.",
        "## Limits",
        _LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def _row(one: Movement, measured: Measured) -> list[str]:
    judged = measured.judged.get(one.name)
    return [
        one.name + " *" * one.authored,
        one.measure,
        f"{one.amount:+.1f}" if one.amount >= MOVES else f"**{one.amount:+.1f}**",
        _number(one.other_side),
        _number(measured.readout.get(one.name)),
        _number(measured.predicted.get(one.name)),
        "no face" if judged is None else f"{judged.before:.2f} → {judged.after:.2f}",
        "" if judged is None or judged.other_rise < SEEN else f"{judged.other} +{judged.other_rise:.2f}",
    ]


def _summary(measured: Measured) -> str:
    learned = [one for one in measured.movements if not one.authored]
    weak = [one.name for one in learned if one.amount < MOVES]
    risen = {name for name, judged in measured.judged.items() if judged.after - judged.before >= SEEN}
    unseen = [one.name for one in learned if one.name not in risen]
    return (
        f"{len(learned) - len(weak)} of {len(learned)} learned columns move what defines them by at least {MOVES:.0f} mm "
        f"the right way{_but(weak)}; the landmark model, looking at a picture of the mean face under one column alone, "
        f"raises the right score by {SEEN} or more for {len(learned) - len(unseen)}{_but(unseen)}."
    )


def _furthest(model: Face478, count: int = 6) -> str:
    """The names whose scores err most, with standard deviations; of both sides one."""
    deviation, mirror = np.sqrt(model.score_error.diagonal()), mirror_names()
    order = [k for k in np.argsort(-deviation, kind="stable") if k <= mirror[k]]
    return ", ".join(f"`{BLENDSHAPES[k].removesuffix('Left')}` {deviation[k]:.2f}" for k in order[:count])


def _but(names: list[str]) -> str:
    return f" (not {', '.join(names)})" if names else ""


def _table(head: list[str], rows: list[list]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.2f}"


def _mean(values: dict[str, float]) -> float:
    known = [value for value in values.values() if value == value]
    return sum(known) / max(1, len(known))


_WHAT = f"""A linear model of the face over MediaPipe's 478 landmarks: V = mean + A·identity(80) + B·expression(64), albedo =
mean + C·texture(80). The first {len(BLENDSHAPES)} columns of B bear the names of MediaPipe's blendshape scores and are
learned by regression on them (each eye's for its own side); the other 12 are principal components of what those leave
over. A and C are principal components over people. The model is mirror-symmetric.
`score_*` is a logistic model of the scores that a fitted face shows."""

_LEGEND = """Each column alone, at score 1, on the mean face. *moves*: how far what defines it goes in its right
direction, on a face whose eyes stand 63 mm apart (bold: less than 1 mm, or the wrong way). *other side*: the same
measure on the other side of the face, over this one. *told*: correlation with the score over left-out clips when
coefficients are fitted to the movement without knowing any score; it is low where several columns look alike.
*predicted*: correlation of the score predicted from the fitted face, within left-out clips. *seen alone*: the landmark
model's score of that name on a picture of the mean face at rest and under the column; *rises too*: the other score that
goes up most. A star marks columns made by hand."""

_LIMITS = """- Landmarks see depth poorly: lips that protrude, cheeks that puff and a jaw that comes forward hardly show in them.
- Scores are MediaPipe's, with its blind spots: it shares looks between both eyes, and confuses neighbors (dimple and
  smile, shrug and roll). Columns of scores that rarely rise in talking are extrapolated to score 1 from small values.
- Each eye moves alone, but a one-sided brow or mouth column takes part of the other side along (*other side*).
- The mean is the mean of the data, not of mankind; what is rare in the data (children, some skin tones, beards, glasses)
  is fitted less closely. Albedo and light are told apart by a prior, so dark rooms leave dark albedo.
- There is no ear, neck, tongue or tooth, and no wrinkle: 478 vertices carry none."""
