"""A shorthand to render one frame of a person."""

import numpy as np

from mimaface_cli.builders.rendered_people.appearance import Person
from mimaface_cli.builders.rendered_people.scene import RenderedFrame, make_scene, render_person
from mimaface_cli.face.face478 import Face478

SIZE = 64


def render_still(
    model: Face478, person: Person, pose: np.ndarray | None = None, gaze: tuple = (0, 0, 0, 0)
) -> RenderedFrame:
    """Render a person with a neutral expression in scene 5, SIZE×SIZE."""
    pose = np.zeros(6) if pose is None else pose
    return render_person(model, person, make_scene(5), np.zeros(64), pose, np.array(gaze), SIZE)
