"""Which engine scores better, by the project's own figures: a rule over the table in a model's card."""

from collections.abc import Mapping
from dataclasses import dataclass

from mimaface_cli.evaluation.figures import BY_NAME

# What both engines must have been measured by, on the same pairs of people that the model never saw.
JUDGED_BY = ("psnr", "ssim", "expression", "pose", "gaze", "identity_dlib", "jitter")
MARGIN = 0.02  # a figure that differs by less, relatively, is a draw


@dataclass(frozen=True)
class Verdict:
    """better: whether the model is to be preferred; why: in a few words; rows: figure, mesh, model and who wins."""

    better: bool
    why: str
    rows: tuple[tuple[str, float, float, str], ...] = ()


def judge(scores: Mapping[str, Mapping[str, float]]) -> Verdict:
    """Compare the columns `mesh` and `diffusion` of a table. The model is preferred where it wins more of JUDGED_BY than
    it loses; where a figure is missing on either side it never is.
    """
    mesh, model = scores.get("mesh", {}), scores.get("diffusion", {})
    missing = [name for name in JUDGED_BY if name not in mesh or name not in model]
    if missing:
        return Verdict(False, "has not been measured against mesh" if not mesh or not model else f"lacks {missing[0]}")
    rows = []
    for name in JUDGED_BY:
        gain = model[name] - mesh[name]
        if BY_NAME[name].better == "lower":
            gain = -gain
        draw = abs(gain) <= MARGIN * max(abs(mesh[name]), abs(model[name]))
        rows.append((name, mesh[name], model[name], "" if draw else "diffusion" if gain > 0 else "mesh"))
    won, lost = (sum(row[3] == name for row in rows) for name in ("diffusion", "mesh"))
    return Verdict(won > lost, f"wins {won} and loses {lost} of {len(rows)} figures against mesh", tuple(rows))
