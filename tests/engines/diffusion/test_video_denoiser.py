"""Frame windows: frames of a stream that only runs forward, for clips that overlap."""

import pytest
import torch

from mimaface_cli.engines.diffusion.ica import plan_clips
from mimaface_cli.engines.diffusion.video_denoiser import FrameWindow


@pytest.mark.parametrize("skipped", [0, 2])
def test_frame_window_produces_each_frame_once_for_overlapping_clips(skipped):
    produced, closed = [], []

    def begin(first):
        try:
            for k in range(first, 20):
                produced.append(k)
                yield torch.full((3, 2, 2), float(k))
        finally:
            closed.append(True)

    window = FrameWindow(begin, 6)
    clips = list(plan_clips(20, 6, 2))[skipped:]
    for clip in clips:
        assert window(clip.frames)[:, 0, 0, 0].tolist() == list(clip.frames)
        assert len(window._cached) <= 6
    assert produced == list(range(clips[0].frames[0], 20))
    window.close()
    assert closed == [True]


def test_frame_window_closes_without_having_started():
    FrameWindow(lambda first: pytest.fail("not needed"), 4).close()
