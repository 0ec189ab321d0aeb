"""Batches, training and figures of the eyelid network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimaface_cli.builders.eyelid478.__main__ import main
from mimaface_cli.builders.eyelid478.eyelid_batches import EyelidClip, draw_batch, read_pair
from mimaface_cli.builders.eyelid478.eyelid_card import describe_figures
from mimaface_cli.builders.eyelid478.eyelid_clips import EyelidSamples
from mimaface_cli.builders.eyelid478.eyelid_evaluation import classify_closure, draw_sheet, evaluate_eyelids
from mimaface_cli.builders.eyelid478.eyelid_training import WIDTHS, build_eyelid_task
from mimaface_cli.builders.part_torch import PartUNet
from mimaface_cli.builders.part_training import PartTrainer, TrainingOptions
from mimaface_cli.engines.mesh.eyelid_crop import EYELID
from mimaface_cli.engines.mesh.part_network import load_network
from mimaface_cli.errors import InputError
from tests.engines.mesh.mouth_models import write_model

SIZE = EYELID.height, EYELID.width


def make_samples(rng: np.random.Generator, openness: list[float]) -> EyelidSamples:
    def draw(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape, np.uint8)

    pairs = len(openness)
    conditions = rng.normal(size=(pairs, 2, EYELID.condition_dim)).astype(np.float32)
    conditions[..., -6] = np.array(openness)[:, None]  # height of the opening, in tenths of the crop's width
    conditions[..., -5] = 1
    return EyelidSamples(
        photo=np.arange(pairs) % 2,
        photos=draw(2, *SIZE, 3),
        photo_openings=np.full((2, *SIZE), 255, np.uint8),
        truths=draw(pairs, 2, *SIZE, 3),
        renders=draw(pairs, 2, *SIZE, 3),
        openings=draw(pairs, 2, *SIZE),
        openness=np.repeat(np.array(openness, np.float32)[:, None], 2, 1),
        conditions=conditions,
        flows=np.zeros((pairs, SIZE[0] // 2, SIZE[1] // 2, 2), np.float16),
    )


def make_people(openness: list[float]) -> list[list[EyelidClip]]:
    return [[EyelidClip("a", "a", make_samples(np.random.default_rng(0), openness))]]


def test_a_pair_holds_render_opening_photo_and_truth():
    samples = make_samples(np.random.default_rng(1), [0.1, 0.9])
    planes, conditions, truths, _ = read_pair(samples, 1)
    assert planes.shape == (2, 8, *SIZE)
    assert np.allclose((planes[1, :3] + 1) * 127.5, np.moveaxis(samples.renders[1, 1], -1, 0), atol=1e-3)
    assert np.allclose(planes[1, 3] * 255, samples.openings[1, 1], atol=1e-3)
    assert np.allclose((planes[0, 4:7] + 1) * 127.5, np.moveaxis(samples.photos[1], -1, 0), atol=1e-3)
    assert np.allclose((truths[0] + 1) * 127.5, np.moveaxis(samples.truths[1, 0], -1, 0), atol=1e-3)
    assert (conditions == samples.conditions[1]).all()


def test_batches_repeat_with_the_seed_and_show_mostly_closing_eyes():
    people = make_people([0.1] + 9 * [0.9])
    people[0][0].samples.conditions[0] = 7
    batch, again = (draw_batch(people, 40, np.random.default_rng(5)) for _ in range(2))
    assert batch.planes.shape == (80, 8, *SIZE) and batch.planes.dtype == batch.conditions.dtype == np.float32
    assert (batch.planes == again.planes).all()
    closing = np.abs(batch.conditions[:40] - 7).max(1) < 0.5
    assert 25 < closing.sum() < 40


def test_eyes_that_stay_open_in_the_clip_are_not_learned_from():
    samples = make_samples(np.random.default_rng(2), [0.1, 0.1])
    truths = samples.truths.copy()
    truths[0] = samples.photos[0]
    clip = EyelidClip("a", "a", replace(samples, truths=truths))
    assert clip.closing.tolist() == [1]


def test_batches_without_closing_or_without_open_eyes_are_possible():
    for openness in ([0.1, 0.2], [0.9, 0.8]):
        assert len(draw_batch(make_people(openness), 3, np.random.default_rng(0)).planes) == 6


def test_open_eyes_are_measured_as_rendered():
    network = PartUNet(EYELID, WIDTHS)
    torch.nn.init.normal_(network.o.weight, std=0.2)
    figures = evaluate_eyelids(network, make_people([0.1, 0.4, 0.9]))
    assert list(figures) == ["closed", "half closed", "open"]
    assert figures["open"][0] == figures["open"][1]
    assert figures["closed"][0] != figures["closed"][1]
    assert "| open | 2 |" in describe_figures(figures, 1)
    assert draw_sheet(network, make_people([0.1, 0.4])).shape[1] == 6 * EYELID.width


@pytest.mark.parametrize(("openness", "closure"), [(0.1, "closed"), (0.4, "half closed"), (0.7, "open")])
def test_closure_is_named_by_the_opening(openness, closure):
    assert classify_closure(openness) == closure


def test_training_repeats_with_the_seed_and_starts_from_a_model_file(tmp_path):
    task = build_eyelid_task(make_people([0.1, 0.3, 0.9]))
    start = PartUNet(EYELID, WIDTHS)
    start.copy_weights(load_network(EYELID, write_model(tmp_path / "a.npz", 0.01, part=EYELID, channels=WIDTHS)))
    before = start.export_weights()
    results = []
    for k in range(2):
        trainer = PartTrainer(task, TrainingOptions(2, 0, tmp_path / f"{k}.pt"))
        trainer.run(lambda step, steps, losses: None)
        results.append(trainer.average.export_weights())
    assert all((results[0][name] == results[1][name]).all() for name in results[0])
    trainer = PartTrainer(task, TrainingOptions(1, 0, tmp_path / "started.pt"), start)
    trainer.run(lambda step, steps, losses: None)
    assert np.abs(trainer.average.export_weights()["e0.weight"] - before["e0.weight"]).max() < 0.01


def test_build_refuses_a_folder_without_clips(tmp_path, capsys):
    (tmp_path / "clips").mkdir()
    assert main([str(tmp_path / "clips"), "-o", str(tmp_path / "m.npz")]) == InputError("").exit_code
    assert "shows no usable face" in capsys.readouterr().err
