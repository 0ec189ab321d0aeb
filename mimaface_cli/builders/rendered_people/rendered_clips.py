"""Clips of rendered people with the track that moves them, and the condition renders an engine would have for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from mimaface_cli.builders.rendered_people.appearance import Person, make_person
from mimaface_cli.builders.rendered_people.random_motion import make_moves
from mimaface_cli.builders.rendered_people.scene import Scene, crop_of, draw, make_scene
from mimaface_cli.engines.mesh.contact import measure_lid_openness
from mimaface_cli.engines.mesh.prepared_portrait import prepare_portrait
from mimaface_cli.engines.mesh.renderer import render_frame
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.head_mesh import render_coefficients
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import TrackMeta

RATE = Fraction(25)
MESH_SIZE = (
    192  # pixels at which the mesh engine draws a condition: its eyes and lips want more than a tiny picture has
)


@dataclass(frozen=True)
class Clip:
    """pictures: N×S×S×3 uint8; points: N×478×2 landmarks in their pixels; track: the true coefficients, face478."""

    pictures: np.ndarray
    points: np.ndarray
    track: MotionTrack
    person: Person
    scene: Scene


def make_clip(model: Face478, person: int, take: int, frames: int, size: int) -> Clip:
    """The take-th clip of a person (both seeds): every take has its own motion, light and background."""
    who, scene = make_person(model, person), make_scene(person * 1009 + take)
    moves = make_moves(person * 1009 + take, frames, float(RATE))
    drawn = [draw(model, who, scene, *frame, size) for frame in zip(moves.expression, moves.pose, moves.gaze)]
    meta = TrackMeta("face478", "rendered", "1", RATE, width=size, height=size)
    track = MotionTrack(
        identity=who.identity,
        texture=who.texture,
        expression=moves.expression,
        illumination=np.broadcast_to(scene.illumination, (frames, len(scene.illumination))),
        pose=moves.pose,
        gaze=moves.gaze,
        crop=np.broadcast_to(crop_of(size), (frames, 2, 3)),
        pts=np.arange(frames) / float(RATE),
        valid=np.ones(frames, bool),
        meta=meta,
    )
    return Clip(np.stack([d.picture for d in drawn]), np.stack([d.points for d in drawn]), track, who, scene)


def plain_condition(model: Face478, source: MotionTrack, driver: MotionTrack, size: int) -> Iterator[np.ndarray]:
    """The paper's render for each of a driver's frames, S×S×3 uint8: identity, texture and light (first frame) of the
    source, expression and pose of the driver.
    """
    for expression, pose in zip(driver.expression, driver.pose):
        light = source.illumination[0].astype(np.float64)
        yield render_coefficients(model, source.identity, source.texture, light, expression, pose, size)


def textured_condition(model: Face478, source: Clip, at: int, driver: MotionTrack, size: int) -> Iterator[np.ndarray]:
    """The mesh engine's frame for each of a driver's frames, S×S×3 uint8: the source's frame `at` moved by the track."""
    own, big = source.track, MESH_SIZE
    drawn = draw(model, source.person, source.scene, own.expression[at], own.pose[at], own.gaze[at], big)
    values = (own.expression[at], own.pose[at], own.gaze[at])
    portrait = Portrait(drawn.picture, None, drawn.points, crop_of(big), source.person.identity, *values)
    still = prepare_portrait(portrait, model)
    lids = measure_lid_openness(model, source.person.identity, driver.expression.astype(np.float64))
    for expression, pose, gaze, open_lids in zip(driver.expression, driver.pose, driver.gaze, lids):
        frame = render_frame(still, model, expression, pose, gaze, open_lids)
        yield cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
