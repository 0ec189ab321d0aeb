"""Clips of rendered people with their true track, and the condition renders that an engine would get for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from mimaface_cli.builders.rendered_people.appearance import Person, make_person
from mimaface_cli.builders.rendered_people.random_motion import generate_motion
from mimaface_cli.builders.rendered_people.scene import Scene, make_crop_transform, make_scene, render_person
from mimaface_cli.engines.mesh.contact import measure_lid_openness
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.engines.mesh.renderer import render_frame
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.head_mesh import render_coefficients
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import TrackMeta

RATE = Fraction(25)
# Pixels of a side at which the mesh engine renders a condition: its eyes and lips need more than a small frame has.
MESH_SIZE = 192


@dataclass(frozen=True)
class RenderedClip:
    """One clip of a rendered person.

    Attributes:
        frames: N×S×S×3 uint8.
        points: N×478×2 landmarks in pixels of the frames.
        track: True coefficients in the face478 space.
        person: Appearance.
        scene: Light and background.
    """

    frames: np.ndarray
    points: np.ndarray
    track: MotionTrack
    person: Person
    scene: Scene


def render_clip(model: Face478, person_seed: int, take: int, frames: int, size: int) -> RenderedClip:
    """Render one take of a person; every take has its own motion, light and background.

    Args:
        model: The morphable model.
        person_seed: Seed of the person.
        take: Number of the take.
        frames: Number of frames N.
        size: Width and height in pixels.
    """
    seed = person_seed * 1009 + take
    person, scene = make_person(model, person_seed), make_scene(seed)
    motion = generate_motion(seed, frames, float(RATE))
    rendered = [
        render_person(model, person, scene, expression, pose, gaze, size)
        for expression, pose, gaze in zip(motion.expression, motion.pose, motion.gaze, strict=True)
    ]
    track = MotionTrack(
        identity=person.identity,
        texture=person.texture,
        expression=motion.expression,
        illumination=np.broadcast_to(scene.illumination, (frames, len(scene.illumination))),
        pose=motion.pose,
        gaze=motion.gaze,
        crop=np.broadcast_to(make_crop_transform(size), (frames, 2, 3)),
        pts=np.arange(frames) / float(RATE),
        valid=np.ones(frames, bool),
        meta=TrackMeta("face478", "rendered", "1", RATE, width=size, height=size),
    )
    images, points = np.stack([one.image for one in rendered]), np.stack([one.points for one in rendered])
    return RenderedClip(images, points, track, person, scene)


def render_plain_conditions(
    model: Face478, source: MotionTrack, driver: MotionTrack, size: int
) -> Iterator[np.ndarray]:
    """Render the paper's condition for each frame of a driver.

    Args:
        model: The morphable model.
        source: Its identity, its texture and the light of its first frame are rendered.
        driver: Its expressions and poses are rendered.
        size: Width and height in pixels.

    Yields:
        S×S×3 uint8.
    """
    for expression, pose in zip(driver.expression, driver.pose, strict=True):
        light = source.illumination[0].astype(np.float64)
        yield render_coefficients(model, source.identity, source.texture, light, expression, pose, size)


def render_textured_conditions(
    model: Face478, source: RenderedClip, index: int, driver: MotionTrack, size: int
) -> Iterator[np.ndarray]:
    """Render the mesh engine's result for each frame of a driver.

    Args:
        model: The morphable model.
        source: Clip that provides the photo.
        index: Frame of the source that is the photo.
        driver: Motion.
        size: Width and height in pixels.

    Yields:
        S×S×3 uint8.
    """
    expression, pose, gaze = source.track.expression[index], source.track.pose[index], source.track.gaze[index]
    photo = render_person(model, source.person, source.scene, expression, pose, gaze, MESH_SIZE)
    portrait = Portrait(
        photo.image, None, photo.points, make_crop_transform(MESH_SIZE), source.person.identity, expression, pose, gaze
    )
    prepared = prepare_photo(portrait, model)
    openness = measure_lid_openness(model, source.person.identity, driver.expression.astype(np.float64))
    for expression, pose, gaze, lids in zip(driver.expression, driver.pose, driver.gaze, openness, strict=True):
        frame = render_frame(prepared, model, expression, pose, gaze, lids)
        yield cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
