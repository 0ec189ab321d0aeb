"""The release's condition tokens in training are those of the diffusion engine."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from mimaface_cli.engines.diffusion import checkpoint, diffusion_motion
from mimaface_cli.engines.diffusion.condition_render import render_condition
from mimaface_cli.engines.diffusion.pipeline import compute_condition_tokens
from mimaface_cli.engines.diffusion.portrait_features import extract_portrait_features
from mimaface_cli.face import alignment
from mimaface_cli.face.d3dfr import split_coefficients
from mimaface_cli.face.landmarks import Face
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.training.clip_extraction import extract_clips
from mimaface_cli.training.clip_options import ClipOptions
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.footage_spaces import BaselSpace
from mimaface_cli.training.shard_reader import StoredClip, open_shards
from mimaface_cli.training.shards import TrainingClip
from mimaface_cli.training.training_data import image_tensor, to_signed, token_inputs
from tests.conftest import weights_at
from tests.tiny.release import UNET
from tests.training.release_runs import IDENTITY_FEATURES
from tests.training.shard_files import write_shards

FRAMES = [0, 1, 2, 3]


class RecordingSpace(BaselSpace):
    """Basel space that records the source image and its landmarks."""

    def describe_photo(self, image: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
        self.photo = image, points
        return super().describe_photo(image, points)


@dataclass(frozen=True)
class Comparison:
    """One photo and one motion: as stored in the training data, and as computed by the engine from the video."""

    clip: TrainingClip
    stored: StoredClip
    network: Denoiser
    photo_coefficients: np.ndarray
    identity: Tensor
    appearance: Tensor
    coefficients: Tensor
    tokens: Tensor
    renders: np.ndarray
    inputs: dict[str, Tensor]

    def tokens_difference(self, **changes: Tensor) -> float:
        """Return the mean change of the tokens for changed inputs, relative to their mean size."""
        values = {"appearance": self.appearance, **self.inputs, **changes}
        tokens = self.network.compute_tokens(values["appearance"], values["motion"], values["identity"])
        return float((tokens - self.tokens).abs().mean() / self.tokens.abs().mean())


@pytest.fixture(scope="module")
def comparison(training_weights, sample, tmp_path_factory) -> Comparison:
    folder = tmp_path_factory.mktemp("comparison")
    with weights_at(training_weights), torch.no_grad():
        space = RecordingSpace()
        clip = next(extract_clips(sample.driver, space, "k", "p", ClipOptions(512, 4, 1)))
        write_shards([clip], folder)
        networks = checkpoint.load_networks()
        readers = checkpoint.load_portrait_networks(checkpoint.load_coefficient_net()[0])
        image, points = space.photo
        source = extract_portrait_features(image, Face(points, np.zeros(52), np.eye(3)), readers, torch.device("cpu"))
        face_model = checkpoint.load_face_model()
        motion = diffusion_motion.plan_diffusion_motion(
            face_model, source, clip.track, RetargetOptions(motion="absolute")
        )
        places = [alignment.invert(alignment.to_center_origin(crop)) for crop in clip.track.crop]
        renders = [
            render_condition(face_model, coefficients, place, 512)
            for coefficients, place in zip(motion.coefficients, places, strict=True)
        ]
        coefficients = torch.from_numpy(motion.coefficients)
        tokens = compute_condition_tokens(networks.mia, source.appearance, coefficients[None])
    stored = open_shards(folder)[0]
    inputs = {key: value[None] for key, value in token_inputs(stored, FRAMES, IDENTITY_FEATURES).items()}
    return Comparison(
        clip,
        stored,
        Denoiser(networks.unet, networks.mia, readers.clip, {**UNET, "use_motion_module": True}).requires_grad_(False),
        source.coefficients,
        source.appearance.identity,
        source.appearance.clip,
        coefficients,
        tokens,
        ((torch.stack(renders) * 0.5 + 0.5) * 255).permute(0, 2, 3, 1).numpy(),
        inputs,
    )


def test_condition_renders_match_those_of_the_engine(comparison):
    assert (comparison.renders.max((1, 2)) > 30).all()
    assert np.abs(comparison.clip.renders - comparison.renders).max() < 2


def test_token_inputs_match_those_of_the_engine(comparison):
    assert torch.equal(comparison.inputs["identity"], comparison.identity)
    torch.testing.assert_close(comparison.inputs["motion"][0], comparison.coefficients, rtol=1e-5, atol=1e-5)


def test_condition_tokens_match_those_of_the_engine(comparison):
    tokens = comparison.network.compute_tokens(comparison.appearance, **comparison.inputs)
    assert tokens.shape == (1, 7 + 17, 32)
    torch.testing.assert_close(tokens, comparison.tokens, rtol=1e-4, atol=1e-5)


def test_condition_tokens_of_the_stored_jpeg_are_close_to_those_of_the_engine(comparison):
    photo = to_signed(image_tensor(comparison.stored.photo())[None])
    assert comparison.tokens_difference(appearance=comparison.network.encode_appearance(photo)) < 0.02


@pytest.mark.parametrize("name", ["texture", "illumination", "expression", "angles", "translation", "gaze"])
def test_condition_tokens_depend_on_each_coefficient_group(comparison, name):
    motion = comparison.inputs["motion"].clone()
    split_coefficients(motion)[name][:] += 1
    assert comparison.tokens_difference(motion=motion) > 1e-3


def test_condition_tokens_depend_on_identity_features(comparison):
    assert comparison.tokens_difference(identity=comparison.inputs["identity"] + 1) > 1e-3


@pytest.mark.parametrize("name", ["texture", "illumination"])
def test_token_inputs_contain_texture_and_illumination_of_the_photo(comparison, name):
    """The track's values are the video's averages, which differ."""
    photo = split_coefficients(comparison.photo_coefficients)[name]
    inputs = split_coefficients(comparison.inputs["motion"])[name][0]
    assert torch.equal(inputs, torch.from_numpy(photo).expand(4, -1))
    assert not np.allclose(photo, getattr(comparison.clip.track, name), atol=1e-5)


@pytest.fixture(scope="module")
def batch(training_weights, basel_data):
    """Networks of clips and of single images that share their weights, with the inputs of two clips."""
    with weights_at(training_weights):
        networks = checkpoint.load_networks()
        encoder = checkpoint.load_portrait_networks(checkpoint.load_coefficient_net()[0], identity=False).clip
    clips = open_shards(basel_data)[:2]
    inputs = [token_inputs(clip, FRAMES, IDENTITY_FEATURES) for clip in clips]
    motion, identity = (torch.stack([each[key] for each in inputs]) for key in ("motion", "identity"))
    photos = to_signed(torch.stack([image_tensor(clip.photo()) for clip in clips]))
    video, image = (
        Denoiser(networks.unet, networks.mia, encoder, {"use_motion_module": has_motion})
        for has_motion in (True, False)
    )
    return video, image, photos, motion, identity


@torch.no_grad()
def test_clips_have_one_set_of_tokens_and_images_have_one_each(batch):
    video, image, photos, motion, identity = batch
    appearance = video.encode_appearance(photos)
    per_clip, per_frame = (network.compute_tokens(appearance, motion, identity) for network in (video, image))
    assert per_frame.shape == (2, 4, 24, 32)
    assert (per_frame[:, 0] - per_frame[:, 3]).abs().max() > 1e-4
    torch.testing.assert_close(per_clip, per_frame.mean(1))
    for k in range(2):  # Samples of a batch are independent.
        alone = video.compute_tokens(appearance[k : k + 1], motion[k : k + 1], identity[k : k + 1])[0]
        torch.testing.assert_close(alone, per_clip[k])


@torch.no_grad()
def test_dropped_tokens_are_all_zero_as_in_guidance(batch):
    video, _, photos, motion, identity = batch
    noisy, conditions = torch.randn(2, 4, 4, 8, 8), torch.randn(2, 9, 4, 8, 8)
    timestep = torch.tensor([10, 500])
    dropped, complete = (
        video(noisy, conditions, timestep, photos[None], motion, torch.tensor(keep), identity)[0]
        for keep in ([0.0, 1.0], [1.0, 1.0])
    )
    zeros = torch.zeros_like(video.compute_tokens(video.encode_appearance(photos), motion, identity))
    unconditional = video.unet(torch.cat([noisy, conditions], 1), timestep, zeros)
    torch.testing.assert_close(dropped[0], unconditional[0])
    assert (dropped[0] - complete[0]).abs().max() > 1e-5
    assert torch.equal(dropped[1], complete[1])
