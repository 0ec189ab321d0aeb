"""Fixtures of the face package: the face model, the example portrait, and clips rendered from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.motion_plan import plan_edited_motion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.face import camera, face478
from mimaface_cli.face.alignment import invert, transform_points
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.fitting import Fitter
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.portrait import Portrait, portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import BLENDSHAPES, Coefficients, blendshape_index
from mimaface_cli.motion.rotation import rotation_matrix
from tests.conftest import ROOT


@pytest.fixture(scope="session", autouse=True)
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to one thread: fits multiply 70×70 matrices, where waiting threads cost ten times the computation."""
    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture(scope="session")
def model() -> Face478:
    """The shipped face478 model."""
    return face478.load()


@pytest.fixture(scope="session")
def portrait_image() -> np.ndarray:
    """The example portrait (public domain), (512, 512, 3) uint8 RGB."""
    return read_image(ROOT / "examples" / "portrait.jpg").rgb


@pytest.fixture(scope="session")
def portrait_face(portrait_image) -> Face:
    """The only face of the example portrait."""
    (face,) = detect_faces(portrait_image)
    return face


@dataclass(frozen=True)
class RenderedClip:
    """A portrait rendered with known motion.

    Attributes:
        coefficients: The motion.
        images: Frames, (512, 512, 3) uint8 RGB.
        crop: (2, 3) transform of the frames to the 256 crop.
        faces: What an error-free landmark model would detect in each frame.
        fitter: Fitter with the portrait's identity.
    """

    coefficients: Coefficients
    images: list[np.ndarray]
    crop: np.ndarray
    faces: list[Face]
    fitter: Fitter


@pytest.fixture(scope="session")
def square_portrait(portrait_image, model) -> Portrait:
    """The example portrait in its 512 square."""
    return portrait_from_photo(portrait_image, None, model, name="portrait").square()


@pytest.fixture(scope="session")
def render_motion(square_portrait, model) -> Callable[..., RenderedClip]:
    """A function that renders the portrait.

    Its argument maps the portrait's coefficients (one frame) to those of a clip.
    """

    def render(make_motion: Callable[[Coefficients], Coefficients]) -> RenderedClip:
        at_rest = square_portrait.coefficients
        motion = plan_edited_motion(model, square_portrait.identity, at_rest, make_motion(at_rest))
        # In constant light: what is measured is the motion alone.
        prepared = prepare_photo(replace(square_portrait, illumination=None), model)
        images = [np.ascontiguousarray(image[..., :3]) for image in renderer.render_photo(prepared, model, motion)]
        faces = []
        for expression, pose in zip(motion.coefficients.expression, motion.coefficients.pose, strict=True):
            shape = model.shape(square_portrait.identity, expression)
            pixels = camera.project(camera.apply_pose(shape, pose))[0]
            points = transform_points(invert(square_portrait.to_crop), pixels)
            faces.append(Face(points, expression[: len(BLENDSHAPES)], rotation_matrix(pose[:3])))
        fitter = Fitter(model, square_portrait.identity)
        return RenderedClip(motion.coefficients, images, square_portrait.to_crop, faces, fitter)

    return render


@pytest.fixture(scope="session")
def rendered_expressions() -> tuple[str, ...]:
    """The expressions in `expression_clip`, in their order."""
    return ("browInnerUp", "browDownLeft", "jawLeft", "mouthStretchRight", "jawOpen")


@pytest.fixture(scope="session")
def expression_clip(render_motion, rendered_expressions) -> RenderedClip:
    """A clip in which the expressions appear and disappear one after another while the head turns."""
    pulse = 6  # frames of each expression

    def make_motion(at_rest: Coefficients) -> Coefficients:
        count = 1 + pulse * len(rendered_expressions)
        expression, pose, gaze = (
            np.repeat(part, count, 0) for part in (at_rest.expression, at_rest.pose, at_rest.gaze)
        )
        for index, name in enumerate(rendered_expressions):
            frames = slice(1 + index * pulse, 1 + (index + 1) * pulse)
            expression[frames, blendshape_index(name)] += 0.6 * np.sin(np.pi * np.arange(pulse) / pulse) ** 2
        pose[:, 1] += 0.15 * np.sin(np.arange(count) / 6)
        return Coefficients(expression, pose, gaze)

    return render_motion(make_motion)
