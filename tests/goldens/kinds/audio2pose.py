"""SadTalker's head-pose network, its noise and the smoothing (mimaface_cli.speech.audio2pose)."""

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
    features = network.compute_features(windows)  # per frame: those of a shorter clip are the first ones

    for case in fixture.spec["cases"]:
        name, frames = case["name"], case["num_frames"]
        noise = fixture.tensor(f"{name}_z")
        yield Check(f"{name} chunks", abs(count_chunks(frames, network.config.frames) - case["chunks"]), 0)
        yield absolute(f"{name}_z", sample_noise(frames, case["torch_manual_seed"], network.config), noise, 1e-6)
        motion = network.generate_motion(features[:frames], reference, noise, case["class"])
        pose = reference + motion
        computed = {"motion": motion, "pose": pose, "pose_smooth": smooth_pose(pose.numpy())}
        for part, values in computed.items():
            expected = arrays[f"{name}_{part}"]
            yield absolute(f"{name}_{part}", values, expected, **tolerance["motion/pose/pose_smooth"])
    if "first_chunk_mlp_in" in arrays:
        yield from _check_inside(fixture, network, windows, reference)


def _check_inside(fixture: Fixture, network: Audio2Pose, windows: Tensor, reference: Tensor) -> Iterator[Check]:
    """Intermediates of the first decoder run of the first case."""
    case, size, decoder = fixture.spec["cases"][0], network.config.frames, network.netG["decoder"]
    captured, tolerance = {}, fixture.spec["tolerance"]

    def capture(name: str, value: Tensor) -> None:
        captured.setdefault(name, value)

    network.audio_encoder["audio_encoder"].register_forward_hook(lambda _, inputs, output: capture("audio_emb", output))
    decoder.linear_audio.register_forward_hook(lambda _, inputs, output: capture("audio_out", output))
    decoder.MLP.register_forward_hook(
        lambda _, inputs, output: (capture("mlp_in", inputs[0]), capture("mlp_out", output))[0]
    )
    decoder.resunet.register_forward_hook(lambda _, inputs, output: capture("resunet_out", output))
    decoder.pose_linear.register_forward_hook(lambda _, inputs, output: capture("pose_linear_out", output))
    features = network.compute_features(windows[: min(case["num_frames"], 1 + size)])
    network.generate_motion(features, reference, fixture.tensor(f"{case['name']}_z")[:1], case["class"])
    for name in ("audio_emb", "audio_out"):
        frames_after_reference = captured[name][1:]  # frame 0 is the reference itself
        captured[name] = torch.cat(
            [frames_after_reference[:1].expand(size - len(frames_after_reference), -1), frames_after_reference]
        )
    for name, values in captured.items():
        expected = fixture.arrays[f"first_chunk_{name}"]
        allowed = tolerance["first_chunk_audio_emb" if name.startswith("audio") else "motion/pose/pose_smooth"]
        yield absolute(f"first_chunk_{name}", values.reshape(expected.shape), expected, **allowed)
