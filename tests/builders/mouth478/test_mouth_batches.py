"""Batches of the mouth network's training."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch

from mimaface_cli.builders.clip_renderer import measure_flow
from mimaface_cli.builders.mouth478.mouth_batches import MouthClip, draw_batch, mirror_conditions, read_pair
from mimaface_cli.builders.mouth478.mouth_clips import MouthSamples
from mimaface_cli.builders.mouth478.mouth_training import (
    build_mouth_task,
    compare_mouths,
    compare_tones,
    weigh_pixels,
)
from mimaface_cli.builders.part_training import PartTrainer, TrainingOptions, measure_unsteadiness
from mimaface_cli.engines.mesh.mouth_crop import CONDITION_DIM, CROP_HEIGHT, CROP_WIDTH, MOUTH_COLUMNS
from mimaface_cli.motion.coefficients import BLENDSHAPES


def make_samples(rng: np.random.Generator, pairs: int = 3) -> MouthSamples:
    def draw(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape, np.uint8)

    size = CROP_HEIGHT, CROP_WIDTH
    return MouthSamples(
        photos=draw(2, *size, 3),
        photo_openings=draw(2, *size),
        photo=np.arange(pairs) % 2,
        truths=draw(pairs, 2, *size, 3),
        renders=draw(pairs, 2, *size, 3),
        openings=draw(pairs, 2, *size),
        true_openings=draw(pairs, 2, *size),
        conditions=rng.normal(size=(pairs, 2, CONDITION_DIM)).astype(np.float32),
        flows=np.zeros((pairs, CROP_HEIGHT // 2, CROP_WIDTH // 2, 2), np.float16),
        closed=np.array([True, False]),
    )


def test_samples_are_stored_and_loaded(tmp_path):
    samples = make_samples(np.random.default_rng(0))
    samples.save(tmp_path / "clip.npz")
    loaded = MouthSamples.load(tmp_path / "clip.npz")
    assert (loaded.renders == samples.renders).all()
    assert (loaded.conditions == samples.conditions).all()
    assert len(loaded) == 3


def test_a_pair_holds_render_opening_photo_and_truth():
    samples = make_samples(np.random.default_rng(1))
    planes, conditions, truths, true_openings, _, exact = read_pair(samples, 1)
    assert planes.shape == (2, 8, CROP_HEIGHT, CROP_WIDTH)
    assert np.allclose((planes[1, :3] + 1) * 127.5, np.moveaxis(samples.renders[1, 1], -1, 0), atol=1e-3)
    assert np.allclose(planes[1, 3] * 255, samples.openings[1, 1], atol=1e-3)
    assert np.allclose((planes[0, 4:7] + 1) * 127.5, np.moveaxis(samples.photos[1], -1, 0), atol=1e-3)
    assert np.allclose(planes[0, 7] * 255, samples.photo_openings[1], atol=1e-3)
    assert np.allclose((truths[0] + 1) * 127.5, np.moveaxis(samples.truths[1, 0], -1, 0), atol=1e-3)
    assert (conditions == samples.conditions[1]).all()
    assert np.allclose(true_openings[1, 0] * 255, samples.true_openings[1, 1], atol=1e-3)
    assert not exact


def test_batches_repeat_with_the_seed_and_put_first_frames_first():
    people = [[MouthClip("a", "a", make_samples(np.random.default_rng(2)))]]
    batch, again = (draw_batch(people, 2, np.random.default_rng(5)) for _ in range(2))
    assert batch.planes.shape == (4, 8, CROP_HEIGHT, CROP_WIDTH)
    assert (batch.planes == again.planes).all()
    assert (batch.planes[0, 4:] == batch.planes[2, 4:]).all(), "both frames of a pair have one photo"
    assert (batch.planes != draw_batch(people, 2, np.random.default_rng(6)).planes).any()


def test_mirrored_conditions_swap_sides_and_turn_yaw():
    names = [BLENDSHAPES[k] for k in MOUTH_COLUMNS]
    count = len(names)
    conditions = np.zeros(CONDITION_DIM, np.float32)
    conditions[names.index("mouthSmileLeft")] = 0.7
    conditions[count + names.index("jawRight")] = 0.2
    conditions[names.index("jawOpen")] = 0.5
    conditions[2 * count : 2 * count + 2] = 0.1, 0.3
    mirrored = mirror_conditions(conditions)
    assert mirrored[names.index("mouthSmileRight")] == np.float32(0.7)
    assert mirrored[names.index("mouthSmileLeft")] == 0
    assert mirrored[count + names.index("jawLeft")] == np.float32(0.2)
    assert mirrored[names.index("jawOpen")] == np.float32(0.5)
    assert mirrored[2 * count] == np.float32(0.1)
    assert mirrored[2 * count + 1] == np.float32(-0.3)
    assert (mirror_conditions(mirrored) == conditions).all()


def test_unsteadiness_follows_the_flow():
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (16, 24, 3), np.uint8)
    first = np.kron(small, np.ones((8, 8, 1), np.uint8))
    second = np.roll(first, 4, 1)
    flow = measure_flow(first, second)
    assert np.median(flow[..., 0]) == np.float16(-4) or abs(np.median(flow[..., 0]) + 4) < 0.5

    truth = torch.zeros(2, 3, CROP_HEIGHT, CROP_WIDTH)
    error = torch.from_numpy(np.moveaxis(np.stack([first, second]), -1, 1) / np.float32(127.5) - 1)
    exact = torch.zeros(1, CROP_HEIGHT, CROP_WIDTH, 2)
    exact[..., 0] = -4
    moving_along = measure_unsteadiness(error, truth, exact)
    standing = measure_unsteadiness(error, truth, torch.zeros_like(exact))
    assert float(moving_along) < 0.1 * float(standing)


def test_differences_in_the_opening_count_more_where_the_lips_are_exact():
    truth = torch.zeros(2, 3, CROP_HEIGHT, CROP_WIDTH)
    opening, true_opening = (torch.zeros(2, 1, CROP_HEIGHT, CROP_WIDTH) for _ in range(2))
    opening[..., 50:70, 80:110] = 1
    true_opening[..., 50:56, 80:110] = 1

    def compare(rows: slice, columns: slice, exact: bool) -> float:
        result = truth.clone()
        result[..., rows, columns] = 1
        weight = weigh_pixels(opening, true_opening, torch.tensor([exact, exact]))
        return float(compare_mouths(result, truth, weight)["color"])

    shared, rendered_only = (slice(50, 55), slice(90, 100)), (slice(60, 65), slice(90, 100))
    outside = slice(5, 10), slice(10, 20)
    assert compare(*rendered_only, exact=True) > 3 * compare(*outside, exact=True) > 0
    assert compare(*rendered_only, exact=False) == 0, "nothing is known where the truth shows lips"
    assert compare(*shared, exact=False) == compare(*outside, exact=False) > 0
    equal = compare_mouths(truth, truth, weigh_pixels(opening, true_opening, torch.tensor([True, False])))
    assert all(float(loss) == 0 for loss in equal.values())


def test_tones_differ_by_color_and_not_by_place():
    truth = torch.rand(2, 3, CROP_HEIGHT, CROP_WIDTH, generator=torch.Generator().manual_seed(0))
    opening, true_opening = (torch.zeros(2, CROP_HEIGHT, CROP_WIDTH) for _ in range(2))
    opening[:, 50:70, 80:110] = 1
    true_opening[:, 40:50, 80:110] = 1
    moved = truth.clone()
    moved[:, :, 50:70, 80:110] = truth[:, :, 40:50, 80:110].repeat(1, 1, 2, 1).flip(-1)
    assert float(compare_tones(moved, truth, opening, true_opening)) < 1e-3
    flat = torch.full_like(truth, 0.5)
    assert float(compare_tones(flat, truth, opening, true_opening)) > 0.01
    assert float(compare_tones(flat, truth, opening, torch.zeros_like(opening))) == 0


def test_wide_openings_are_drawn_more_often_than_chance_gives():
    samples = make_samples(np.random.default_rng(8), pairs=20)
    openings = np.zeros_like(samples.true_openings)
    openings[7] = 255
    marked = np.arange(20)[:, None, None] * np.ones((1, 2, CONDITION_DIM), np.float32)
    people = [[MouthClip("a", "a", replace(samples, true_openings=openings, conditions=marked))]]
    batch = draw_batch(people, 60, np.random.default_rng(0))
    wide = np.abs(batch.conditions[:60, -5] - 7) < 0.5
    assert 12 < wide.sum() < 35


def test_exact_pairs_show_the_true_lips_around_the_inside_of_the_render():
    samples = make_samples(np.random.default_rng(7))
    people = [[MouthClip("a", "a", samples)]]
    batch = draw_batch(people, 40, np.random.default_rng(0))
    assert 8 < batch.exact.sum() < 32
    exact = np.flatnonzero(batch.exact)
    planes, truths = batch.planes[exact], batch.truths[exact]
    outside = np.broadcast_to(planes[:, 3:4] == 0, truths.shape)
    assert np.allclose(planes[:, :3][outside], truths[outside], atol=1e-5)
    inside = np.broadcast_to(planes[:, 3:4] == 1, truths.shape)
    assert np.abs(planes[:, :3][inside] - truths[inside]).mean() > 0.1


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path):
    people = [[MouthClip("a", "a", make_samples(np.random.default_rng(4)))]]

    def train(checkpoint: str, last: int) -> dict[str, torch.Tensor]:
        options = TrainingOptions(4, 0, tmp_path / checkpoint, checkpoint_every=1)
        trainer = PartTrainer(build_mouth_task(people), options)

        def stop(step: int, steps: int, losses: dict[str, float]) -> None:
            if step == last < steps:
                raise KeyboardInterrupt

        with suppress(KeyboardInterrupt):
            trainer.run(stop)
        return trainer.average.state_dict()

    torch.set_num_threads(1)
    whole = train("whole.pt", 4)
    train("pieces.pt", 2)
    pieces = train("pieces.pt", 4)
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)
    assert not torch.equal(train("part.pt", 2)["o.weight"], whole["o.weight"])
