"""ICA: clip windows, conditioning channels, noise."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mimaface_cli.engines.diffusion.ica import build_ica_channels, plan_clips, sample_noise


@given(st.integers(1, 200), st.integers(1, 32), st.integers(0, 31))
def test_plan_clips_yields_every_new_frame_once_with_overlap(count, length, overlap):
    if overlap >= length:
        with pytest.raises(ValueError, match="cannot cover"):
            list(plan_clips(count, length, overlap))
        return
    clips = list(plan_clips(count, length, overlap))
    assert [frame for clip in clips for frame in clip.frames[clip.new]] == list(range(count))
    for before, clip in pairwise(clips):
        assert before.frames[length - overlap :] == clip.frames[:overlap] and before.end == length
    for clip in clips:
        assert len(clip.frames) == length and clip.end > clip.carried
        assert set(clip.frames[clip.end :]) <= {count - 1}
    assert clips[0].carried == 0 and all(clip.carried == overlap for clip in clips[1:])


def test_ica_channels_hold_the_carried_latents_and_their_mask():
    carried = torch.randn(1, 4, 3, 2, 5)
    channels = build_ica_channels(carried, 7, torch.zeros(1, 4, 7, 2, 5))
    assert channels.shape == (1, 5, 7, 2, 5)
    torch.testing.assert_close(channels[:, :4, :3], carried)
    assert (channels[:, 4, :3] == 1).all() and (channels[:, :, 3:] == 0).all()
    assert (build_ica_channels(None, 7, torch.zeros(1, 4, 7, 2, 5)) == 0).all()


def test_sample_noise_depends_on_the_seed_only():
    torch.manual_seed(5)
    first = sample_noise(3, 4, 5)
    torch.manual_seed(6)
    torch.testing.assert_close(sample_noise(3, 4, 5), first, rtol=0, atol=0)
    assert not torch.equal(sample_noise(3, 4, 5, seed=1), first)
