"""Build of the occlusion network: training, measurements on held-out photos, model file and card."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.builders.occlusion.occluders import (
    Layer,
    draw_blob,
    draw_fingers,
    draw_mask,
    draw_microphone,
    draw_polygon,
    draw_real_hand,
)
from mimaface_cli.builders.occlusion.training import train_network
from mimaface_cli.builders.occlusion.training_faces import (
    TrainingData,
    TrainingFace,
    find_photos,
    read_training_data,
)
from mimaface_cli.errors import InputError
from mimaface_cli.face.occlusion import find_regions, gather_evidence
from mimaface_cli.face.occlusion_network import FACE_PLANE, OcclusionNetwork, crop_matrix, load_occlusion_network
from mimaface_cli.files import atomic_path, check_output

_MIN_AREA = 0.05  # share of the face that a drawn occluder covers, so that it counts in the measurement
_MIN_OVERLAP = 0.4  # intersection over union from which it counts as detected
DRAWINGS: dict[str, Callable[[TrainingFace, TrainingData, np.random.Generator], Layer]] = {
    "worn mask": draw_mask,
    "microphone": draw_microphone,
    "hand (photo)": draw_real_hand,
    "fingers": draw_fingers,
    "smooth shape": draw_blob,
    "rectangle": draw_polygon,
}


@dataclass(frozen=True)
class BuildOptions:
    """Options of the build.

    Attributes:
        folder: Photos, subfolders included.
        output: The model file (.npz); the card is written beside it.
        steps: Number of training steps.
        held_out_every: Every N-th photo is held out.
        seed: Seed of all random numbers.
        about: Origin and license of the photos, for the card.
        overwrite: Whether an existing model and card are replaced.
    """

    folder: Path
    output: Path
    steps: int = 1600
    held_out_every: int = 15
    seed: int = 0
    about: str = "The origin of the data is not stated."
    overwrite: bool = False


@dataclass(frozen=True)
class Measurements:
    """Figures on held-out photos.

    Attributes:
        faces: Number of faces.
        alarms: Share of unchanged faces with a detection. Some show real hands and microphones.
        detected: Share of drawn occluders that are detected, by drawing.
        overlap: Mean intersection over union on the face, by drawing.
    """

    faces: int
    alarms: float
    detected: dict[str, float]
    overlap: dict[str, float]


def build_network(options: BuildOptions, progress: Callable[[str, int, int], None]) -> Measurements:
    """Train the network and write it with its card.

    Args:
        options: The options.
        progress: Is called with a stage, the finished and the total number of its steps.

    Raises:
        InputError: The folder is missing or contains no photo.
        OutputError: Model or card exist already, or cannot be written.
    """
    card_path = options.output.with_suffix(".md")
    for path in (options.output, card_path):
        check_output(path, options.overwrite)
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder. Name a folder of photos.")
    paths = find_photos(options.folder)
    training = [path for k, path in enumerate(paths) if k % options.held_out_every]
    data = read_training_data(training, lambda done, total: progress("photos", done, total))
    trained = train_network(
        data, options.steps, options.seed, lambda done, _: progress("training", done, options.steps)
    )
    with atomic_path(options.output) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **trained.export())
    network = load_occlusion_network(options.output)
    held_out = read_training_data(paths[:: options.held_out_every], lambda done, total: progress("test", done, total))
    measurements = measure_network(network, held_out, options.seed)
    with atomic_path(card_path) as temporary:
        temporary.write_text(write_card(network, measurements, options, len(data.faces)), "utf-8")
    return measurements


def measure_network(network: OcclusionNetwork, data: TrainingData, seed: int) -> Measurements:
    """Measure the network on faces as they are, and with each drawing in front of them."""
    rng = np.random.default_rng(seed)
    alarms = [_find(network, face.colors, face.points)[0].any() for face in data.faces]
    detected: dict[str, float] = {}
    overlap: dict[str, float] = {}
    for name, draw in DRAWINGS.items():
        values = [
            value for face in data.faces if (value := _measure_drawing(network, face, data, draw, rng)) is not None
        ]
        detected[name] = float(np.mean([value > _MIN_OVERLAP for value in values])) if values else 0.0
        overlap[name] = float(np.mean(values)) if values else 0.0
    return Measurements(len(data.faces), float(np.mean(alarms)) if alarms else 0.0, detected, overlap)


def _find(network: OcclusionNetwork, colors: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the regions (64, 64) bool in front of a face, and the face (64, 64) bool."""
    evidence = gather_evidence(network, colors, points, is_mirrored_too=True)
    return find_regions(evidence, points), evidence.planes[FACE_PLANE] > 0


def _measure_drawing(
    network: OcclusionNetwork,
    face: TrainingFace,
    data: TrainingData,
    draw: Callable[[TrainingFace, TrainingData, np.random.Generator], Layer],
    rng: np.random.Generator,
) -> float | None:
    """Return the intersection over union of a drawing and the detection; None for a drawing beside the face."""
    if draw is draw_real_hand and not data.hands:
        return None
    layer, coverage = draw(face, data, rng)
    colors = face.colors + coverage[..., None] * (layer - face.colors)
    regions, on_face = _find(network, np.clip(colors, 0, 255).astype(np.uint8), face.points)
    matrix = crop_matrix(face.points)
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    drawn = cv2.warpAffine(coverage, matrix, regions.shape, flags=cv2.INTER_LINEAR) > 0.5
    drawn, regions = drawn & on_face, regions & on_face
    if drawn.sum() < _MIN_AREA * on_face.sum():
        return None
    return float((drawn & regions).sum() / max((drawn | regions).sum(), 1))


def write_card(network: OcclusionNetwork, measurements: Measurements, options: BuildOptions, faces: int) -> str:
    """Return the text of the model card."""
    rows = "\n".join(
        f"| {name} | {measurements.detected[name]:.0%} | {measurements.overlap[name]:.2f} |" for name in DRAWINGS
    )
    return f"""# occlusion, which detects hands, objects and masks in front of a face (version {network.version})

A convolutional network with three stages down and up and {_count_parameters(network):,} parameters. It sees an upright
crop of 64×64 pixels around a face (colors and the landmarks' face, lips and eyes), and returns for each pixel the logit
that it belongs to something in front of the face: a hand, a microphone, a worn mask. Glasses, beards, hair, hats,
make-up and shadows belong to the face.

## Data

{options.about} It was trained on {faces:,} faces. Hands of the same photos and drawn masks, microphones, fingers and
shapes were laid in front of them; beards, glasses, hats and shadows were drawn as counterexamples. The network contains
no image.

Built with `python -m mimaface_cli.builders.occlusion FOLDER -o {options.output.name} --steps {options.steps} --seed
{options.seed}`. Every {options.held_out_every}th photo was held out.

## Measurements on held-out photos

On {measurements.alarms:.1%} of {measurements.faces} unchanged faces the network detects an occluder; some of them show
real microphones and hands.

| drawing | detected | overlap (intersection over union) |
| --- | --- | --- |
{rows}

Only drawings that cover 5 % of the face count. Detected means an overlap of more than {_MIN_OVERLAP}.

## Limits

Objects in the colors of the face that cover little of it are missed. Parts of dark or gray things, transparent ones and
thin ones, such as a straw, are missed as well. The figures are those of drawings; real occluders differ.
"""


def _count_parameters(network: OcclusionNetwork) -> int:
    return sum(array.size for arrays in (network.weights, network.biases) for array in arrays.values())
