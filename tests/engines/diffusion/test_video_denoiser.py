"""Denoising of a video: windows of frames that only run forward, the order of work, and its progress."""

import threading
import weakref
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from mimaface_cli.engines.diffusion import fallback
from mimaface_cli.engines.diffusion.clip_store import ClipStore
from mimaface_cli.engines.diffusion.ica import plan_clips
from mimaface_cli.engines.diffusion.pipeline import Appearance
from mimaface_cli.engines.diffusion.runtime import Runtime
from mimaface_cli.engines.diffusion.video_denoiser import FrameWindow, VideoDenoiser
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT
from tests.engines.diffusion.clips import SETTINGS


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


@pytest.fixture
def record(monkeypatch):
    """What a video's denoiser does, in order; networks are not run."""
    events = []

    def denoise(networks, inputs, clip, carried, settings, memory, on_step):
        events.append(("denoise", clip.frames[0]))
        on_step(2)
        return torch.zeros(1, 4, settings.length, 8, 8)

    def decode(vae, latents, chunk):
        events.append(("decode", latents.shape[2]))
        return torch.zeros(latents.shape[2], 8, 8, 3, dtype=torch.uint8), torch.tensor(True)

    monkeypatch.setattr(fallback, "denoise_clip", denoise)
    monkeypatch.setattr(fallback, "decode_clip", decode)
    return events


def make_denoiser(networks, store=None, frames: int = 5) -> VideoDenoiser:
    """Return the denoiser of five frames, in two clips, or of more."""
    appearance, coefficients = Appearance(torch.zeros(1, 1, 32)), np.zeros((frames, COEFFICIENT_COUNT), np.float32)
    runtime = Runtime(torch.device("cpu"), torch.float32)
    return VideoDenoiser(networks, runtime, SETTINGS, appearance, coefficients, lambda first: iter(()), store)


def test_cpu_decodes_a_clip_before_it_denoises_the_next_one(networks, record):
    """Two networks at once would need the memory of both, and gain nothing."""
    assert len(list(make_denoiser(networks).frames())) == 5
    assert record == [("denoise", 0), ("decode", 3), ("denoise", 2), ("decode", 2)]


def test_accelerator_denoises_the_next_clip_while_it_decodes_one(networks, record, monkeypatch):
    begun = threading.Event()
    decode, denoise = fallback.decode_clip, fallback.denoise_clip

    def denoise_second(networks, inputs, clip, *arguments):
        if clip.frames[0]:
            begun.set()
        return denoise(networks, inputs, clip, *arguments)

    def decode_meanwhile(*arguments):
        assert begun.wait(10), "decoding holds back the next clip"
        return decode(*arguments)

    monkeypatch.setattr(fallback, "denoise_clip", denoise_second)
    monkeypatch.setattr(fallback, "decode_clip", decode_meanwhile)
    monkeypatch.setattr(fallback, "side_stream", lambda device: nullcontext())
    monkeypatch.setattr(Appearance, "to", lambda self, device: self)
    denoiser = make_denoiser(networks)
    denoiser.runtime = Runtime(torch.device("cuda", 0), torch.float32)
    assert len(list(denoiser.frames())) == 5


def test_memory_of_a_clip_is_released_before_the_clip_after_the_next(networks, record, monkeypatch):
    made, alive = [], []
    denoise = fallback.denoise_clip

    def remember(*arguments):
        alive.append(sum(reference() is not None for reference in made))
        latents = denoise(*arguments)
        made.append(weakref.ref(latents))
        return latents

    monkeypatch.setattr(fallback, "denoise_clip", remember)
    assert len(list(make_denoiser(networks, frames=15).frames())) == 15
    assert len(made) == 7 and max(alive) <= 1


def test_progress_begins_before_the_first_step(networks, record):
    denoiser, reports = make_denoiser(networks), []
    denoiser.on_progress = lambda done, total: reports.append((done, total))
    list(denoiser.frames())
    assert reports == [(0, 4), (2, 4), (2, 4), (4, 4)]


def test_first_clip_of_a_run_is_reported_by_itself(networks, record, tmp_path):
    store = ClipStore(tmp_path, "run", (1, 4, 3, 8, 8))
    for resumed in (False, True):
        denoiser, reports = make_denoiser(networks, store), []
        denoiser.on_first_clip = lambda done, total, reports=reports: reports.append((done, total))
        frames = denoiser.frames()
        next(frames)
        assert reports == ([] if resumed else [(0, 2), (2, 2)])
        list(frames)
        assert reports == ([] if resumed else [(0, 2), (2, 2)])


def test_progress_of_a_resumed_run_begins_after_its_finished_clips(networks, record, tmp_path):
    store = ClipStore(tmp_path, "run", (1, 4, 3, 8, 8))
    store.save(0, torch.zeros(1, 4, 3, 8, 8))
    denoiser, reports = make_denoiser(networks, store), []
    denoiser.on_progress = lambda done, total: reports.append((done, total))
    assert len(list(denoiser.frames())) == 5
    assert reports == [(2, 4), (4, 4)] and denoiser.resumed_clips == {0}
