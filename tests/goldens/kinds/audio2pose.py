"""SadTalker's head motion network, its noise and the smoothing (mimaface_cli.speech.audio2pose, .sadtalker_inference)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mimaface_cli.speech.audio2pose import POSE, Audio2Pose, count_chunks, sample_noise
from mimaface_cli.speech.sadtalker_inference import smooth_pose
from tests.goldens.fixture import Check, Fixture, absolute
from tests.goldens.kinds._sadtalker import filled, pose_network, shapes_of


def check(fixture: Fixture) -> Iterator[Check]:
    arrays, tolerance = fixture.arrays, fixture.spec["tolerance"]
    network = pose_network(shapes_of(fixture), fixture.spec["config"])
    yield from filled(fixture, network)
    windows, reference = fixture.tensor("mel_windows"), fixture.tensor("ref")[-POSE:]
    features = network.features(windows)  # of every frame by itself: a shorter clip's are the first of them

    for case in fixture.spec["cases"]:
        name, frames = case["name"], case["num_frames"]
        noise = fixture.tensor(f"{name}_z")
        yield Check(f"{name} chunks", abs(count_chunks(frames, network.config.frames) - case["chunks"]), 0)
        yield absolute(f"{name}_z", sample_noise(frames, case["torch_manual_seed"], network.config), noise, 1e-6)
        motion = network.motion(features[:frames], reference, noise, case["class"])
        pose = reference + motion
        found = {"motion": motion, "pose": pose, "pose_smooth": smooth_pose(pose.numpy())}
        for part, values in found.items():
            expected = arrays[f"{name}_{part}"]
            yield absolute(f"{name}_{part}", values, expected, **tolerance["motion/pose/pose_smooth"])
    if "first_chunk_mlp_in" in arrays:
        yield from _check_inside(fixture, network, windows, reference)


def _check_inside(fixture: Fixture, network: Audio2Pose, windows: Tensor, reference: Tensor) -> Iterator[Check]:
    """Intermediates of the first decoder run of the first case."""
    case, size, decoder = fixture.spec["cases"][0], network.config.frames, network.netG["decoder"]
    seen, tolerance = {}, fixture.spec["tolerance"]

    def keep(name: str, value: Tensor) -> None:
        seen.setdefault(name, value)

    network.audio_encoder["audio_encoder"].register_forward_hook(lambda _, given, made: keep("audio_emb", made))
    decoder.linear_audio.register_forward_hook(lambda _, given, made: keep("audio_out", made))
    decoder.MLP.register_forward_hook(lambda _, given, made: (keep("mlp_in", given[0]), keep("mlp_out", made))[0])
    decoder.resunet.register_forward_hook(lambda _, given, made: keep("resunet_out", made))
    decoder.pose_linear.register_forward_hook(lambda _, given, made: keep("pose_linear_out", made))
    features = network.features(windows[: min(case["num_frames"], 1 + size)])
    network.motion(features, reference, fixture.tensor(f"{case['name']}_z")[:1], case["class"])
    for name in ("audio_emb", "audio_out"):
        heard = seen[name][1:]  # frame 0 is the reference itself
        seen[name] = torch.cat([heard[:1].expand(size - len(heard), -1), heard])
    for name, values in seen.items():
        expected = fixture.arrays[f"first_chunk_{name}"]
        allowed = tolerance["first_chunk_audio_emb" if name.startswith("audio") else "motion/pose/pose_smooth"]
        yield absolute(f"first_chunk_{name}", values.reshape(expected.shape), expected, **allowed)
