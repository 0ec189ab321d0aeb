"""The lip network's frame count."""

import pytest

from mimaface_cli.speech.lip_network import count_video_frames


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 1), (1, 1), (639, 1), (640, 1), (641, 2), (16_000, 25), (161_234, 252)]
)
def test_count_video_frames_rounds_up_to_at_least_one(samples, frames):
    assert count_video_frames(samples) == frames
