"""The release's own condition tokens, from footage through both stages to the engine: made as the engine makes them."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mimaface_cli.engines.diffusion import checkpoint, video_denoiser
from mimaface_cli.engines.diffusion.condition_render import render_condition
from mimaface_cli.engines.diffusion.mia import ReleaseMIA
from mimaface_cli.engines.diffusion.pipeline import compute_condition_tokens
from mimaface_cli.engines.diffusion.portrait_features import extract_portrait_features
from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.face import alignment as align
from mimaface_cli.face.d3dfr import split_coefficients
from mimaface_cli.face.landmarks import Face
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.clip_extraction import extract_clips
from mimaface_cli.training.clip_options import ClipOptions
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.footage_spaces import BaselSpace
from mimaface_cli.training.initialization import rebuild_network
from mimaface_cli.training.preparation import prepare_shards
from mimaface_cli.training.run_checkpoints import list_checkpoints, read_checkpoint, read_stage_result
from mimaface_cli.training.samples import ImageSamples
from mimaface_cli.training.shard_reader import open_shards
from mimaface_cli.training.shards import TrainingClip
from mimaface_cli.training.stages import train_image, train_video
from mimaface_cli.training.training_data import load_training_data, to_signed, token_inputs
from mimaface_cli.weights.install import import_folder
from tests.conftest import read_video, weights_at, write_video
from tests.tiny.release import UNET
from tests.training.shard_files import write_shards

SIZE = 64
FEATURES = 16 * 7 * 7  # of the tiny identity network


@pytest.fixture(scope="module")
def footage(sample, tmp_path_factory) -> Path:
    """Two people (the one face, seen otherwise) with a video each."""
    folder = tmp_path_factory.mktemp("footage")
    for name in ("a", "b"):
        (folder / name).mkdir()
    shutil.copy(sample.driver, folder / "a/driver.mp4")
    frames, times = read_video(sample.driver)
    write_video(folder / "b/mirrored.mp4", [255 - (255 - frame[:, ::-1]) // 2 for frame in frames], times)
    return folder


@pytest.fixture(scope="module")
def data(weights, footage, tmp_path_factory) -> Path:
    """Prepared as people do it. Only to be read."""
    folder = tmp_path_factory.mktemp("data") / "shards"
    with weights_at(weights):
        index = prepare_shards(footage, folder, "bfm09", ClipOptions(SIZE, 4, 2))
    assert sum(index.videos.values()) == 4 and not index.bad
    return folder


@pytest.fixture
def config(data, tmp_path):
    """The release's recipe in a few steps; changes by section, `output` by name."""

    def make(output: str = "run", steps: int = 2, **changes) -> TrainingConfig:
        optimizer = {"steps": steps, "batch": 2, "learning_rate": 1e-3, "ema": 0.5}
        values = {
            "data": str(data), "output": str(tmp_path / output), "recipe": "release", "size": SIZE, "workers": 0,
            "save_every": 2, "image": {"optimizer": optimizer}, "video": {"optimizer": optimizer, "clip": 4, "most_known": 2},
            "validation": {"every": 0}, "model": {},
        }  # fmt: skip
        for section, value in changes.items():
            values[section] = {**values[section], **value} if isinstance(value, dict) else value
        return build_config(values)

    return make


class Watched(BaselSpace):
    """Remembers the photos and where their faces are."""

    def describe_photo(self, image: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
        self.photo = image, points
        return super().describe_photo(image, points)


@torch.no_grad()
def test_the_trainers_tokens_are_the_engines(weights, sample, tmp_path):
    """Of one photo and one motion: prepared and read by the trainer, and by the engine from the video's own frame."""
    with weights_at(weights):
        space = Watched()
        clip = next(extract_clips(sample.driver, space, "k", "p", ClipOptions(512, 4, 1)))
        write_shards([clip], tmp_path)
        stored = open_shards(tmp_path)[0]
        networks = checkpoint.load_networks()
        readers = checkpoint.load_portrait_networks(checkpoint.load_coefficient_net()[0])
        image, points = space.photo
        source = extract_portrait_features(image, Face(points, np.zeros(52), np.eye(3)), readers, torch.device("cpu"))
        motion = video_denoiser.plan_diffusion_motion(
            checkpoint.load_face_model(), source, clip.track, RetargetOptions(motion="absolute")
        )
        places = [align.invert(align.to_center_origin(crop)) for crop in clip.track.crop]
        drawn = [
            render_condition(checkpoint.load_face_model(), *of_frame, 512)
            for of_frame in zip(motion.coefficients, places)
        ]
    frames = [0, 1, 2, 3]

    # So are its conditions: the photo's identity, texture and light, moved by the frames, where the frames show them.
    shown = ((torch.stack(drawn) * 0.5 + 0.5) * 255).permute(0, 2, 3, 1).numpy()
    assert (shown.max((1, 2)) > 30).all() and np.abs(clip.renders - shown).max() < 2

    wanted = compute_condition_tokens(networks.mia, source.appearance, torch.from_numpy(motion.coefficients)[None])

    given = {key: value[None] for key, value in token_inputs(stored, frames, FEATURES).items()}
    assert torch.equal(given["identity"], source.appearance.identity)
    torch.testing.assert_close(given["motion"][0], torch.from_numpy(motion.coefficients), rtol=1e-5, atol=1e-5)
    network = Denoiser(networks.unet, networks.mia, readers.clip, {**UNET, "use_motion_module": True})
    found = network.tokens(source.appearance.clip, **given)
    assert found.shape == (1, 7 + 17, 32)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)

    # From the stored photo, a JPEG, too; and nothing that the tokens are made of is without effect.
    appearance = network.appearance(to_signed(torch.tensor(stored.photo()).permute(2, 0, 1)[None]))
    scale = wanted.abs().mean()
    assert (network.tokens(appearance, **given) - wanted).abs().mean() < 0.02 * scale
    for name in ("texture", "illumination", "expression", "angles", "translation", "gaze"):
        other = given["motion"].clone()
        split_coefficients(other)[name][:] += 1
        assert (
            network.tokens(source.appearance.clip, other, given["identity"]) - wanted
        ).abs().mean() > 1e-3 * scale, name
    assert (
        network.tokens(source.appearance.clip, given["motion"], given["identity"] + 1) - wanted
    ).abs().mean() > 1e-3 * scale

    # The photo's own texture and light, not those of the frames; the track's are the video's middle.
    of_photo = split_coefficients(source.coefficients)
    for name in ("texture", "illumination"):
        assert torch.equal(
            split_coefficients(given["motion"])[name][0], torch.from_numpy(of_photo[name]).expand(4, -1)
        ), name
        assert not np.allclose(of_photo[name], getattr(clip.track, name), atol=1e-5)


@torch.no_grad()
def test_pictures_have_tokens_of_their_own_and_clips_one_set(weights, data):
    with weights_at(weights):
        networks = checkpoint.load_networks()
        encoder = checkpoint.load_portrait_networks(checkpoint.load_coefficient_net()[0], identity=False).clip
    clips = open_shards(data)[:2]
    given = [token_inputs(clip, [0, 1, 2, 3], FEATURES) for clip in clips]
    motion, identity = (torch.stack([one[key] for one in given]) for key in ("motion", "identity"))
    photos = to_signed(torch.stack([torch.tensor(clip.photo()).permute(2, 0, 1) for clip in clips]))
    of_clips, of_pictures = (
        Denoiser(networks.unet, networks.mia, encoder, {"use_motion_module": video}) for video in (True, False)
    )
    seen = of_clips.appearance(photos)
    one, many = (network.tokens(seen, motion, identity) for network in (of_clips, of_pictures))
    assert many.shape == (2, 4, 24, 32) and (many[:, 0] - many[:, 3]).abs().max() > 1e-4
    torch.testing.assert_close(one, many.mean(1))
    for k in range(2):  # a batch mixes nothing up
        torch.testing.assert_close(of_clips.tokens(seen[k : k + 1], motion[k : k + 1], identity[k : k + 1])[0], one[k])

    # What is dropped is all 264 tokens, as in the unconditional half of guidance.
    noisy, conditions = torch.randn(2, 4, 4, 8, 8), torch.randn(2, 9, 4, 8, 8)
    step = torch.tensor([10, 500])
    dropped, whole = (
        of_clips(noisy, conditions, step, photos[None], motion, torch.tensor(keep), identity)[0]
        for keep in ([0.0, 1.0], [1.0, 1.0])
    )
    bare = networks.unet(torch.cat([noisy, conditions], 1), step, torch.zeros_like(one))
    torch.testing.assert_close(dropped[0], bare[0])
    assert (dropped[0] - whole[0]).abs().max() > 1e-5 and torch.equal(dropped[1], whole[1])


def test_both_stages_to_a_video_by_the_engine(weights, config, release_folder, sample, tmp_path, run_command):
    run = config()
    with weights_at(weights):
        train_image(run)
        folder = train_video(run)
    image, video = (read_checkpoint(list_checkpoints(tmp_path / "run" / stage)[-1]) for stage in ("image", "video"))
    released = torch.load(release_folder / "checkpoints/video/mim.pth", weights_only=True)
    own = {key.removeprefix("mia."): value for key, value in video["network"].items() if key.startswith("mia.")}
    assert {key: value.shape for key, value in own.items()} == {key: value.shape for key, value in released.items()}
    names = {f"mia.{key}" for key in released}
    assert names <= image["average"].keys()
    assert names <= video["average"].keys()  # stage 2 trains all of it too, and CLIP's last layers
    assert any("layers.1." in key for key in video["average"] if key.startswith("clip."))
    assert not any("embeddings" in key or "layernorm" in key for key in video["average"] if key.startswith("clip."))
    for stage in (image, video):  # it has learned something, in every part
        before = image["average"] if stage is video else rebuild_start(weights, run)
        assert all(not torch.equal(stage["average"][key], before[key]) for key in names)

    again = shutil.copytree(weights, tmp_path / "weights", symlinks=True)
    quick = ("--engine", "diffusion", "--device", "cpu", "--output-mode", "crop", "--steps", "2", "--clip-length", "5")
    with weights_at(again):
        installed = import_folder(folder, ["mimaface"]).installed
        assert "mimaface/video/mia.safetensors" in installed
        networks = checkpoint.load_networks()
        said = run_command("animate", sample.portrait, sample.driver, "-o", "out.mp4", *quick, "--duration", "0.2")
    assert isinstance(networks.mia, ReleaseMIA) and networks.wants_identity
    wanted = {**video["network"], **video["average"]}
    assert all(torch.equal(value, wanted[f"mia.{key}"]) for key, value in networks.mia.state_dict().items())
    assert said.code == 0, said.err
    assert len(read_video(tmp_path / "out.mp4")[0]) == 6


def rebuild_start(weights: Path, run: TrainingConfig) -> dict[str, torch.Tensor]:
    from mimaface_cli.training.initialization import initialize_image_stage

    with weights_at(weights):
        return initialize_image_stage(run, FEATURES).state_dict()


class Stopped(Exception):
    pass


def test_a_stopped_run_goes_on_exactly(weights, config):
    """Both stages, with looks at somebody left out on the way."""
    more = {"validation": {"every": 2, "share": 0.5, "clips": 1, "steps": 2}}
    whole, parts = (config(name, 5, **more) for name in ("whole", "parts"))

    def stop(stage: str, done: int, total: int | None) -> None:
        if stage in ("image", "video") and done == 3:  # a step after a checkpoint
            raise Stopped

    with weights_at(weights):
        for train, stage in ((train_image, "image"), (train_video, "video")):
            train(whole)
            with pytest.raises(Stopped):
                train(parts, stop)
            train(parts)
            for name in ("losses.csv", "validation.csv", "validation/step-00000004.png"):
                one, other = (Path(run.output) / stage / name for run in (whole, parts))
                assert one.read_bytes() == other.read_bytes(), (stage, name)
            one, other = (read_stage_result(Path(run.output), stage).state for run in (whole, parts))
            assert all(torch.equal(value, other[key]) for key, value in one.items())
            made = rebuild_network(read_stage_result(Path(whole.output), stage)).state_dict()
            assert all(torch.equal(value, one[key]) for key, value in made.items())


def test_without_motion_only_the_photo_is_told(weights, config):
    run = config(model={"use_motion": False})
    with weights_at(weights):
        train_image(run)
        train_video(run)
    tokens = rebuild_network(read_stage_result(Path(run.output), "video")).mia
    still = {"transform_dim_arcface", "transform_dim_clip", "transform_dim_tex", "transform_dim_gamma"}
    moving = {"transform_dim_exp", "transform_dim_gaze", "transform_dim_angles", "transform_dim_translation"}
    assert all(not tokens.get_submodule(name).weight.any() for name in moving)
    assert all(tokens.get_submodule(name).weight.any() for name in still)


def test_the_identity_loss_may_come_on_top(weights, config):
    with weights_at(weights):
        train_image(config(image={"identity_weight": 1.0, "bank": 0}))


@pytest.mark.parametrize(
    "values",
    [
        {"recipe": "release", "space": "face478"},
        {"recipe": "release", "space": "face478", "model": {"start": "scratch"}},
        {"space": "face478", "model": {"tokens": "release"}},
    ],
)
def test_they_are_made_of_the_basel_space_alone(values):
    with pytest.raises(InputError, match=r'model.tokens: .* Set space = "bfm09" and .*or \[model\] tokens = "paper"'):
        build_config(values)
    with pytest.raises(InputError, match=r"model\.tokens: is 'clip'\. Choose one of paper, release"):
        build_config({"model": {"tokens": "clip"}})
    values = values | {"model": values.get("model", {}) | {"tokens": "paper"}}
    assert build_config(values).model.tokens == "paper"


def test_stages_of_two_kinds_do_not_go_together(weights, config):
    with weights_at(weights):
        train_image(config())
        with pytest.raises(WeightsError, match=r'Stage 1 trained .* of the release. Set \[model\] tokens = "release"'):
            train_video(config(model={"tokens": "paper"}))
        with pytest.raises(WeightsError, match="does not match the configured model"):
            train_image(config(steps=4, model={"tokens": "paper"}))


def test_clips_prepared_without_the_identity_network_are_the_papers(weights, footage, config, tmp_path, run_mimaface):
    bare = shutil.copytree(weights, tmp_path / "weights", symlinks=True)
    (bare / "mimaface/arcface.safetensors").unlink()
    cut = ("--space", "bfm09", "--size", str(SIZE), "--frames", "4", "--per-video", "1")
    ran = run_mimaface("train", "prepare", footage / "a", "-o", "data", *cut, env={"MIMAFACE_WEIGHTS_DIR": str(bare)})
    assert ran.returncode == 0 and "note: without the identity network" in ran.stderr, ran.stderr
    with weights_at(bare):
        run = config(data=str(tmp_path / "data"))
        with pytest.raises(
            InputError, match=r"shard-00000.tar: clip .* lacks .*weights pull mimaface.* another folder"
        ) as error:
            train_image(run)
        assert "\n" not in str(error.value)
        train_image(replace(run, model=replace(run.model, tokens="paper")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photo_features": np.zeros((2, FEATURES), np.float32)}, "identity features of clip k1 are damaged"),
        ({"photo_features": np.zeros(FEATURES + 1, np.float32)}, "identity features of clip k1 are damaged"),
        ({"photo_features": np.full(FEATURES, np.nan, np.float32)}, "identity features of clip k1 are damaged"),
        ({"photo_coefficients": np.zeros(260, np.float32)}, "coefficients of clip k1 are damaged"),
    ],
)
def test_damage_is_named(data, tmp_path, config, change, message):
    shutil.copy(data / "index.json", tmp_path)
    pictures = np.zeros((4, SIZE, SIZE, 3), np.uint8)
    seen = {"photo_coefficients": np.zeros(261, np.float32), "photo_features": np.zeros(FEATURES, np.float32)}
    clip = TrainingClip(
        "k0", "p", "a.mp4", pictures, MotionTrack.neutral(4, "bfm09"), None, pictures[0], pictures, **seen
    )
    write_shards([clip, replace(clip, key="k1", **change)], tmp_path)
    samples = ImageSamples(load_training_data(config(data=str(tmp_path))), 0)
    with pytest.raises(InputError, match=message):
        for number in range(20):
            samples[number]
