"""Names of the expression coefficients."""

import numpy as np
import pytest

from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES, Coefficients, blendshape_index


def test_blendshape_index_is_the_column_of_the_name():
    assert len(BLENDSHAPES) == len(set(BLENDSHAPES)) == 52
    assert [blendshape_index(name) for name in BLENDSHAPES] == list(range(52))
    assert set(UNSCORED_BLENDSHAPES) < set(BLENDSHAPES)


def test_blendshape_index_lists_the_known_names_for_an_unknown_one():
    with pytest.raises(KeyError, match=r"smirk: unknown blendshape.*mouthSmileLeft"):
        blendshape_index("smirk")


def test_length_of_coefficients_is_their_number_of_frames():
    assert len(Coefficients(np.zeros((7, 64)), np.zeros((7, 6)), np.zeros((7, 4)))) == 7
