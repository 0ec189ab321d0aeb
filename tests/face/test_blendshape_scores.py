"""The score model of face478: predicted scores, and expressions that reach target scores."""

import numpy as np
import pytest

from mimaface_cli.face.blendshape_scores import logits_to_scores, match_scores, predict_logits
from mimaface_cli.motion.coefficients import BLENDSHAPES, blendshape_index


@pytest.mark.parametrize("name", ["jawOpen", "mouthSmileLeft", "browInnerUp", "eyeBlinkRight", "mouthPucker"])
def test_named_expression_raises_the_predicted_score_of_its_name(model, name):
    index, expression = blendshape_index(name), np.zeros((2, 64))
    expression[1, index] = 1.0
    at_rest, moved = logits_to_scores(predict_logits(model, np.zeros(80), expression))
    assert moved[index] > at_rest[index] + 0.3


def test_match_scores_reaches_target_scores_with_small_movements(model):
    expression = np.zeros((1, 64))
    target = logits_to_scores(predict_logits(model, np.zeros(80), expression))
    smile = [blendshape_index("mouthSmileLeft"), blendshape_index("mouthSmileRight")]
    target[:, smile] = 0.6
    matched = match_scores(model, np.zeros(80), expression, target, np.zeros(len(BLENDSHAPES)))
    before, after = (
        logits_to_scores(predict_logits(model, np.zeros(80), coefficients))[0, smile]
        for coefficients in (expression, matched)
    )
    assert (after > before + 0.3).all() and (after < 0.75).all()
    assert np.abs(model.expression_basis @ matched[0]).max() < 0.08
