"""Who measures: a small network that reads expression, pose, gaze and landmarks of a rendered face, and one that knows
faces apart. Both are trained on people and scenes that no model under test has seen.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimaface_cli.builders.rendered_people.appearance import make_person
from mimaface_cli.builders.rendered_people.random_motion import generate_motion
from mimaface_cli.builders.rendered_people.scene import make_scene, render_person
from mimaface_cli.face import topology
from mimaface_cli.face.face478 import Face478
from mimaface_cli.files import atomic_path
from tests.benchmarks.ablation.people import DRAWN, PICTURE, close_up, close_up_points

POINTS = np.unique(
    np.concatenate([topology.OVAL[::3], topology.LEFT_EYE[::4], topology.RIGHT_EYE[::4], topology.OUTER_LIPS[::3],
                    topology.INNER_LIPS[::5], topology.LEFT_IRIS[:1], topology.RIGHT_IRIS[:1], [4, 1, 152, 105, 334]])
)  # fmt: skip
GROUPS = {"expression": 52, "pose": 6, "gaze": 4, "points": 2 * len(POINTS)}
FIRST_PERSON = 50_000  # seeds of the people judges learn from
PEOPLE, SCENES, TAKEN = 1000, 3, 4  # how many, with how many takes each, frames of each take


@dataclass
class Labeled:
    """pictures N×S×S×3 uint8; truth N×sum(GROUPS): expression, pose, gaze, points (of the picture's side); person N."""

    pictures: np.ndarray
    truth: np.ndarray
    person: np.ndarray


def label(model: Face478, people: range, scenes: int, taken: int) -> Labeled:
    """Frames of people, close up, with what is true of them."""
    pictures, truth, person = [], [], []
    for seed in people:
        who = make_person(model, seed)
        for take in range(scenes):
            key = seed * 1009 + take
            scene, moves = make_scene(key), generate_motion(key, 12 * taken)
            for k in range(0, 12 * taken, 12):
                values = moves.expression[k], moves.pose[k], moves.gaze[k]
                drawn = render_person(model, who, scene, *values, DRAWN)
                pictures.append(close_up(drawn.image))
                truth.append(
                    np.concatenate([values[0][:52], *values[1:], close_up_points(drawn.points[POINTS]).ravel()])
                )
                person.append(seed)
    return Labeled(np.stack(pictures), np.stack(truth).astype(np.float32), np.array(person))


class Eye(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] -> features (B, 256)."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 80, 128)):
        super().__init__()
        layers, last = [], 3
        for width in widths:
            layers += [nn.Conv2d(last, width, 3, 2, 1), nn.BatchNorm2d(width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.SiLU()]
            last = width
        self.layers = nn.Sequential(*layers)
        self.out = nn.LazyLinear(256)

    def forward(self, pictures: Tensor) -> Tensor:
        return F.silu(self.out(self.layers(pictures).flatten(1)))


class Judge(nn.Module):
    """Reads GROUPS from a picture; `scale` and `middle` undo the normalization in which it learns."""

    def __init__(self) -> None:
        super().__init__()
        size = sum(GROUPS.values())
        self.eye, self.head = Eye(), nn.Linear(256, size)
        self.register_buffer("middle", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.eye(pictures))


class Knower(nn.Module):
    """A unit vector (B, 96) for who a face is; `classes` serve training alone."""

    def __init__(self, people: int = PEOPLE):
        super().__init__()
        self.eye, self.out = Eye(), nn.Linear(256, 96)
        self.classes = nn.Parameter(0.1 * torch.randn(people, 96))

    def forward(self, pictures: Tensor) -> Tensor:
        return F.normalize(self.out(self.eye(pictures)), dim=1)


def to_tensor(pictures: np.ndarray) -> Tensor:
    """…×S×S×3 uint8 -> (…, 3, S, S) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).movedim(-1, -3).float() / 127.5 - 1


def _spoil(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Blur and noise on some, as a decoder's pictures have them, and a change of brightness: judges must not mind."""
    count = len(pictures)
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.rand(count, 1, 1, 1, generator=rng) * (torch.rand(count, 1, 1, 1, generator=rng) < 0.5)
    pictures = pictures + share * (soft - pictures)
    noise = torch.randn(pictures.shape, generator=rng) * 0.06 * torch.rand(count, 1, 1, 1, generator=rng)
    gain = 1 + 0.15 * (torch.rand(count, 1, 1, 1, generator=rng) - 0.5)
    return pictures * gain + noise


def _train(
    network: nn.Module,
    data: Labeled,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor],
    epochs: int,
    report: Callable[[str], None],
) -> None:
    rng = torch.Generator().manual_seed(1)
    steps = epochs * (len(data.pictures) // 64)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.15)
    network.train()
    for step in range(steps):
        index = torch.randint(len(data.pictures), (64,), generator=rng)
        value = loss(network, _spoil(to_tensor(data.pictures[index.numpy()]), rng), index)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        rate.step()
        if step % 500 == 0:
            report(f"{step}/{steps}: loss {float(value):.3f}")
    network.eval().requires_grad_(False)


def make_judges(
    model: Face478, folder: Path, epochs: int = 16, report: Callable[[str], None] = print
) -> tuple[Judge, Knower]:
    """Both judges, trained once and kept in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    judge, knower = Judge(), Knower()
    with torch.no_grad():
        for network in (judge, knower):
            network(torch.zeros(2, 3, PICTURE, PICTURE))  # sizes the lazy layer
    paths = [folder / "judge.pt", folder / "knower.pt"]
    if not all(path.exists() for path in paths):
        report("rendering people for the judges")
        data = label(model, range(FIRST_PERSON, FIRST_PERSON + PEOPLE), SCENES, TAKEN)
        truth = torch.from_numpy(data.truth)
        judge.middle.copy_(truth.mean(0))
        judge.scale.copy_(truth.std(0).clamp_min(1e-3))
        # What never moves is not learned; each group counts the same.
        alive = (truth.std(0) > 1e-3).float()
        weight = torch.cat([part / part.sum() for part in alive.split(list(GROUPS.values()))])
        target = (truth - judge.middle) / judge.scale
        who = torch.from_numpy(data.person - FIRST_PERSON)

        def reads(network: nn.Module, pictures: Tensor, index: Tensor) -> Tensor:
            return (
                (F.smooth_l1_loss(network(pictures), target[index], reduction="none", beta=0.5) * weight).sum(1).mean()
            )

        def knows(network: nn.Module, pictures: Tensor, index: Tensor) -> Tensor:
            logits = network(pictures) @ F.normalize(network.classes, dim=1).T
            margin = 0.2 * F.one_hot(who[index], logits.shape[1])
            return F.cross_entropy(24 * (logits - margin), who[index])

        for network, loss, path in ((judge, reads, paths[0]), (knower, knows, paths[1])):
            if not path.exists():
                report(f"training {path.stem}")
                _train(network, data, loss, epochs, report)
                with atomic_path(path) as temporary:
                    torch.save(network.state_dict(), temporary)
    for network, path in zip((judge, knower), paths):
        network.load_state_dict(torch.load(path, weights_only=True))
        network.eval().requires_grad_(False)
    return judge, knower


@torch.no_grad()
def read(judge: Judge, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """What a judge sees in N×S×S×3 pictures, by group, in the truth's own units: expression N×52, pose N×6, gaze N×4,
    points N×2K in the picture's side.
    """
    parts = [judge(to_tensor(part)) * judge.scale + judge.middle for part in _chunks(pictures)]
    return split(torch.cat(parts).numpy())


@torch.no_grad()
def know(knower: Knower, pictures: np.ndarray) -> np.ndarray:
    """Identity vectors N×96 of N×S×S×3 pictures."""
    return torch.cat([knower(to_tensor(part)) for part in _chunks(pictures)]).numpy()


@torch.no_grad()
def features(judge: Judge, pictures: np.ndarray) -> np.ndarray:
    """The judge's last hidden features N×256."""
    return torch.cat([judge.eye(to_tensor(part)) for part in _chunks(pictures)]).numpy()


def split(values: np.ndarray) -> dict[str, np.ndarray]:
    """…×sum(GROUPS) to its groups."""
    ends = np.cumsum(list(GROUPS.values()))[:-1]
    return dict(zip(GROUPS, np.split(values, ends, axis=-1)))


def _chunks(pictures: np.ndarray, size: int = 128):
    return (pictures[k : k + size] for k in range(0, len(pictures), size))


def seed_of(name: str) -> int:
    """A number for a name, the same everywhere."""
    return zlib.crc32(name.encode())
