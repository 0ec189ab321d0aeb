"""Audio to SadTalker's saved coefficients, end to end (mimaface_cli.speech.sadtalker_inference)."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy.io import loadmat

from mimaface_cli.motion.coefficients import EXPRESSION_DIM
from mimaface_cli.speech.audio2pose import sample_noise
from mimaface_cli.speech.blink import generate_blinks
from mimaface_cli.speech.sadtalker_inference import COEFFICIENTS, SpeakerConditions, predict_coefficients
from tests.goldens.fixture import Check, Fixture, absolute
from tests.goldens.kinds._sadtalker import expression_network, filled, mel_config, pose_network, shapes_of


def check(fixture: Fixture) -> Iterator[Check]:
    arrays, config = fixture.arrays, fixture.spec["config"]
    of_expression, of_pose, sound = (fixture.neighbor(name) for name in ("audio2exp", "audio2pose", "mel"))
    expression = expression_network(shapes_of(of_expression))
    pose = pose_network(shapes_of(of_pose), of_pose.spec["config"])
    yield from filled(of_expression, expression)
    yield from filled(of_pose, pose)

    frames, noise = config["num_frames"], fixture.tensor("z")
    ratio = generate_blinks(frames, config["blink_seed_python_random"])
    yield absolute("ratio", ratio.astype(np.float32), arrays["ratio"][:, 0], 0)
    seed = config["torch_manual_seed_before_generate"]
    yield absolute("z", sample_noise(frames, seed, pose.config), noise, 1e-6)

    samples, first = arrays["wav_int16"] / np.float32(32768), arrays["first_coeff_3dmm"][0]
    network_inputs: list[tuple] = []  # of the expression network: windows, references, ratios
    expression.register_forward_pre_hook(lambda _, inputs: network_inputs.append(inputs))
    blinks, poses = arrays["ref_blink_coeff_3dmm"], arrays["ref_pose_coeff_3dmm"][:, EXPRESSION_DIM:COEFFICIENTS]
    for name, blink_from, pose_from in (
        ("coeff_3dmm", None, None),
        ("coeff_3dmm_refblink", blinks, None),
        ("coeff_3dmm_refpose", None, poses),
        ("coeff_3dmm_refblink_refpose", blinks, poses),
    ):
        network_inputs.clear()
        conditions = SpeakerConditions(first, ratio, noise, config["pose_style"], blink_from, pose_from)
        computed = predict_coefficients(
            expression,
            pose,
            samples,
            conditions,
            workers=1,  # so that the networks see the blocks in order
            config=mel_config(sound.spec["config"]),
        )
        yield from _compare(name, computed, arrays[name], fixture.spec["tolerance"])
        if name == "coeff_3dmm":
            yield from _check_files(fixture, computed)
        if name == "coeff_3dmm_refblink":
            _, references, ratios = (torch.cat(parts) for parts in zip(*network_inputs, strict=True))
            yield absolute("ref_used_refblink", references, arrays["ref_used_refblink"][:, :EXPRESSION_DIM], 0)
            yield absolute("ratio_refblink", ratios, arrays["ratio_refblink"], 0)


def _compare(name: str, computed: np.ndarray, expected: np.ndarray, tolerance: dict) -> Iterator[Check]:
    for part, columns in (("coeff[:, :64]", slice(0, EXPRESSION_DIM)), ("coeff[:, 64:]", slice(EXPRESSION_DIM, None))):
        allowed = {key: value for key, value in tolerance[part].items() if key != "note"}
        yield absolute(f"{name} {part[5:]}", computed[:, columns], expected[:, columns], **allowed)


def _check_files(fixture: Fixture, computed: np.ndarray) -> Iterator[Check]:
    """Compare the coefficients with the file that the release saved."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "release.mat")
        path.write_bytes(fixture.arrays["mat_bytes"].tobytes())
        yield from _compare("mat_bytes", computed, loadmat(path)["coeff_3dmm"], fixture.spec["tolerance"])
