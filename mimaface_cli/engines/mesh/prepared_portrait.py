"""A portrait prepared for animation: its head as a surface, its eyes and mouth separated into layers."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mimaface_cli.cache import Cache
from mimaface_cli.engines.mesh.contact import (
    CLOSED_LID_SHARE,
    MAX_LID_OPENNESS,
    measure_lid_gap,
    measure_lid_openness,
)
from mimaface_cli.engines.mesh.eyes import SIDES, EyeLayers, build_eye_layers, locate_eyeballs, project_eye_anchors
from mimaface_cli.engines.mesh.face_networks import PAINTED_FACE, FaceNetworks
from mimaface_cli.engines.mesh.face_symmetry import FaceCompletion, complete_face
from mimaface_cli.engines.mesh.head_geometry import (
    HeadGeometry,
    build_head_geometry,
    deepen_face,
    select_moving_part,
)
from mimaface_cli.engines.mesh.head_light import HeadLight, build_head_light
from mimaface_cli.engines.mesh.layers import PhotoLayers, build_photo_layers, opaque_layers
from mimaface_cli.engines.mesh.learned_eyelid import (
    EyeFrame,
    LearnedEyelid,
    measure_lid_confidence,
    prepare_learned_eyelid,
)
from mimaface_cli.engines.mesh.learned_mouth import (
    LearnedMouth,
    MouthFrame,
    cut_mouth,
    measure_confidence,
    prepare_learned_mouth,
)
from mimaface_cli.engines.mesh.mouth import MouthLayers, build_mouth_layers, project_mouth_anchors
from mimaface_cli.engines.mesh.occluder_layer import FrontLayer, build_front_layer
from mimaface_cli.engines.mesh.stretched_skin import SmoothSkin, paint_smooth_skin
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import Portrait, crop_to_image

_RELIABLE_OPENNESS = 0.35  # openness from which an eye shows how far it can open
_NEARLY_CLOSED = 0.12  # openness below which lids count as touching, although their landmarks are apart
_LEAST_CONFIDENCE = 0.5  # of a network in a photo's style
PAINTED_MOUTH_NOTE = "the mouth network does not know the style of this image; the inside of the mouth is painted"
PAINTED_EYES_NOTE = "the eyelid network does not know the style of this image; closing eyelids are painted"
_CHEEKS = np.array([50, 280, 101, 330, 117, 346, 205, 425])

LidCurve = tuple[np.ndarray, np.ndarray]  # openness (K,), ascending, and the lids' distance at each (K,), model units


@dataclass(frozen=True)
class PreparedPortrait:
    """Everything about a portrait that does not change from frame to frame.

    Attributes:
        portrait: The portrait it was prepared from.
        geometry: The geometry of its head.
        lid_curves: For the left and right eye, how far the lids are apart at each openness.
        layers: The photo, separated into person and background.
        person: (H, W, 4) uint8, colors and alpha of the moving part of the person.
        still: (H, W, 3) uint8, colors of the still part of the person.
        smooth: What replaces stretched parts of the face.
        rim: (H, W, 3) int16, the photo minus its recomposed layers, or None where all of it is the person.
        opacity: (V, 2) for each vertex, the lowest opacity (1: opaque; 0: the person's alpha at its texture), and a
            factor on the opacity of a turned head.
        completion: Second texture of the face, where the photo does not show it well.
        light: How the light on the head changes as it turns.
        eyes: Layers of the eyes by side.
        mouth: Layers of the mouth.
        learned: The mouth as the mouth network needs it, or None if it is painted alone.
        eyelids: Eyes by side as the eyelid network needs them; none if closing lids are painted alone.
        front: The layer of an occluder, or None.
    """

    portrait: Portrait
    geometry: HeadGeometry
    lid_curves: list[LidCurve]
    layers: PhotoLayers
    person: np.ndarray
    still: np.ndarray
    smooth: SmoothSkin
    rim: np.ndarray | None
    opacity: np.ndarray
    completion: FaceCompletion
    light: HeadLight
    eyes: dict[str, EyeLayers]
    mouth: MouthLayers
    learned: LearnedMouth | None = None
    eyelids: dict[str, LearnedEyelid] = field(default_factory=dict)
    front: FrontLayer | None = None

    @property
    def is_mouth_covered(self) -> bool:
        """Whether the mouth is not animated, because something covers it."""
        return bool(self.layers.covered[0])

    @property
    def networks(self) -> FaceNetworks:
        """The networks that correct the face."""
        eyes = next((eye.network for eye in self.eyelids.values()), None)
        return FaceNetworks(None if self.learned is None else self.learned.network, eyes)

    def is_eye_covered(self, side: str) -> bool:
        """Return whether an eye is not animated, because something covers it; side: "left" or "right"."""
        return bool(self.layers.covered[1 + SIDES.index(side)])

    @property
    def head(self) -> np.ndarray:
        """(478, 3) the photo's face in the head's frame."""
        return self.geometry.head

    @cached_property
    def is_fading(self) -> np.ndarray:
        """(T,) bool, whether a triangle of the front fades out as the head turns."""
        return np.asarray((self.opacity[self.geometry.front, 1] < 1).any(1))

    @cached_property
    def is_completed(self) -> np.ndarray:
        """(T,) bool, whether a triangle of the fine face shows the second texture."""
        return np.asarray((self.completion.share > 0)[self.geometry.fine.triangles].any(1))

    @cached_property
    def completed_texture(self) -> np.ndarray:
        """(F, 6) float32 pixel, share and gain of the second texture at each vertex of the fine face."""
        completion = self.completion
        columns = [completion.texture - 0.5, completion.share[:, None], completion.gain]
        return np.concatenate(columns, 1).astype(np.float32)

    def to_image(self, crop_pixels: np.ndarray) -> np.ndarray:
        """Convert crop pixels (..., 2) to image pixels."""
        return crop_to_image(self.portrait, crop_pixels)

    def lid_heights(self, openness: np.ndarray) -> np.ndarray:
        """Look up how far the left and right lids are apart.

        Args:
            openness: (2,) 0 closed, 1 open.

        Returns:
            (2,) heights in model units.
        """
        pairs = zip(openness, self.lid_curves, strict=True)
        return np.array([np.interp(value, *curve) for value, curve in pairs])


def prepare_portrait(
    portrait: Portrait, model: Face478, layers: PhotoLayers, networks: FaceNetworks = PAINTED_FACE
) -> PreparedPortrait:
    """Prepare a portrait for animation.

    Args:
        portrait: The portrait.
        model: The face model of its coefficients.
        layers: The layers of its image.
        networks: The networks that correct the face.
    """
    if layers.completed is not None:
        portrait = replace(portrait, image=layers.completed)
    pose = portrait.pose
    geometry = select_moving_part(build_head_geometry(portrait, model, layers.alpha), layers.moving_alpha)
    fine, count = geometry.fine, len(geometry.placed)
    rest = deepen_face(model.shape(portrait.identity, np.zeros_like(portrait.expression)))
    image_rings = {name: geometry.texture[ring] for name, ring in fine.rings.items()}
    ones = np.ones((count, 2))
    opacity = [np.stack([surface.is_opaque, surface.fade], -1) for surface in geometry.surfaces]
    texture, visibility = geometry.texture[:count], geometry.visibility
    unposed = fine.matrix @ geometry.head
    smooth = paint_smooth_skin(layers.foreground, texture, visibility, unposed, fine.triangles, fine.rings["oval"])
    completion = complete_face(portrait.image, texture, visibility, geometry.mirrored, fine.triangles)
    prepared = PreparedPortrait(
        portrait=portrait,
        geometry=geometry,
        lid_curves=_fit_lid_curves(portrait, model, geometry.head, rest),
        layers=layers,
        person=np.dstack([layers.foreground, layers.moving_alpha]),
        still=np.where(layers.moving_alpha[..., None] > 0, layers.background, layers.foreground),
        smooth=smooth,
        rim=_measure_rim(portrait.image, layers),
        opacity=np.concatenate([ones, *opacity]),
        completion=replace(completion, share=completion.share * (1 - smooth.is_other[geometry.mirrored])),
        light=build_head_light(portrait, geometry),
        eyes=_build_eyes(portrait, geometry.head, image_rings),
        mouth=build_mouth_layers(
            portrait.image,
            image_rings["mouth"],
            geometry.head,
            rest,
            lambda anchor: crop_to_image(portrait, project_mouth_anchors(anchor, pose)),
            estimate_skin_color(portrait),
        ),
        front=build_front_layer(layers.occluder),
    )
    return _add_networks(prepared, networks)


def prepare_photo(
    portrait: Portrait, model: Face478, cache: Cache | None = None, networks: FaceNetworks = PAINTED_FACE
) -> PreparedPortrait:
    """Separate a photo into layers, or load them from the cache, and prepare it for animation.

    Args:
        portrait: The photo.
        model: The face model of its coefficients.
        cache: Where layers are stored, or None.
        networks: The networks that correct the face. One that does not know the style of the image is not used.
    """
    return drop_unknown_networks(
        prepare_portrait(portrait, model, build_photo_layers(portrait, model, cache), networks)
    )


def drop_unknown_networks(prepared: PreparedPortrait) -> PreparedPortrait:
    """Return a prepared portrait without those networks that do not know the style of its image, with notes."""
    known, notes = select_known_networks(prepared)
    if not notes:
        return prepared
    return replace(
        prepared,
        learned=None if known.mouth is None else prepared.learned,
        eyelids={} if known.eyes is None else prepared.eyelids,
        layers=replace(prepared.layers, notes=(*prepared.layers.notes, *notes)),
    )


def select_known_networks(prepared: PreparedPortrait) -> tuple[FaceNetworks, list[str]]:
    """Return those networks of a prepared portrait that know the style of its image, and notes about the others."""
    networks, notes = prepared.networks, []
    image = prepared.portrait.image
    if prepared.learned is not None:
        photo = _photo_mouth(prepared)
        confidence = measure_confidence(prepared.learned, cut_mouth(image, prepared.learned.anchor, photo), photo)
        if confidence < _LEAST_CONFIDENCE:
            networks, notes = replace(networks, mouth=None), [PAINTED_MOUTH_NOTE]
    eyes = prepared.eyelids.items()
    if eyes:
        confidences = [measure_lid_confidence(eye, image, _photo_eye(prepared, side)) for side, eye in eyes]
        if np.mean(confidences) < _LEAST_CONFIDENCE:
            networks, notes = replace(networks, eyes=None), [*notes, PAINTED_EYES_NOTE]
    return networks, notes


def prepare_still_head(portrait: Portrait, model: Face478, networks: FaceNetworks = PAINTED_FACE) -> PreparedPortrait:
    """Prepare a portrait whose head does not move, without separating it into layers."""
    return prepare_portrait(portrait, model, opaque_layers(portrait), networks)


def _add_networks(prepared: PreparedPortrait, networks: FaceNetworks) -> PreparedPortrait:
    """Prepare mouth and eyes for their networks, unless something covers them."""
    image, mouth, learned = prepared.portrait.image, prepared.mouth, None
    if networks.mouth is not None and not prepared.is_mouth_covered:
        photo = _photo_mouth(prepared)
        crop = cut_mouth(image, mouth.anchor, photo)
        learned = prepare_learned_mouth(networks.mouth, crop, mouth.anchor, mouth.chroma, photo)
        learned = learned if mouth.photo is not None else learned.hide_inside()
    eyelids = {}
    for side in SIDES:
        if networks.eyes is not None and not prepared.is_eye_covered(side):
            ball, eye = prepared.eyes[side].ball, _photo_eye(prepared, side)
            eyelids[side] = prepare_learned_eyelid(networks.eyes, image, side, ball, mouth.chroma, eye)
    return replace(prepared, learned=learned, eyelids=eyelids) if learned or eyelids else prepared


def _photo_eye(prepared: PreparedPortrait, side: str) -> EyeFrame:
    portrait, geometry = prepared.portrait, prepared.geometry
    ring = geometry.texture[geometry.fine.rings[f"{side}_eye"]]
    return EyeFrame(portrait.expression, portrait.pose, ring, prepared.to_image)


def _photo_mouth(prepared: PreparedPortrait) -> MouthFrame:
    portrait, geometry = prepared.portrait, prepared.geometry
    ring = geometry.texture[geometry.fine.rings["mouth"]]
    return MouthFrame(geometry.head, portrait.expression, portrait.pose, ring, prepared.to_image)


def _measure_rim(image: np.ndarray, layers: PhotoLayers) -> np.ndarray | None:
    """Return the photo minus its recomposed layers, (H, W, 3) int16, or None where they are equal."""
    differs = (layers.moving_alpha < 255) & ((layers.moving_alpha > 0) | (layers.background != image).any(2))
    place = np.nonzero(differs)
    alpha = layers.moving_alpha[place][:, None] / np.float32(255)
    background = layers.background[place]
    recomposed = background + alpha * (layers.foreground[place].astype(np.float32) - background)
    difference = np.zeros(image.shape, np.int16)
    difference[place] = np.round(image[place] - recomposed)
    return difference if difference.any() else None


def _fit_lid_curves(portrait: Portrait, model: Face478, head: np.ndarray, rest: np.ndarray) -> list[LidCurve]:
    """The lid curves of both eyes; head: the photo's face, rest: the model's resting face."""
    photo_gaps, rest_gaps = (np.array([measure_lid_gap(face, side) for side in SIDES]) for face in (head, rest))
    openness = measure_lid_openness(model, portrait.identity, portrait.expression[None])[0]
    pairs = zip(openness, photo_gaps, rest_gaps * (1 - CLOSED_LID_SHARE), strict=True)
    return [fit_lid_curve(*eye) for eye in pairs]


def fit_lid_curve(openness: float, height: float, usual_height: float) -> LidCurve:
    """Fit how far the lids are apart at each openness.

    Narrow eyes do not show how far they can open: they open to the model's height.

    Args:
        openness: Openness of the eye in the photo.
        height: Distance of its lids in the photo, model units.
        usual_height: Distance of the model's open lids.
    """
    reliability = min(openness / _RELIABLE_OPENNESS, 1.0)
    full = reliability * height / max(openness, _RELIABLE_OPENNESS) + (1 - reliability) * usual_height
    knot = float(np.clip(openness, 1e-3, 1 - 1e-3))
    knot_height = knot * full if reliability == 1 else min(height * min(knot / _NEARLY_CLOSED, 1.0), full)
    return np.array([0, knot, 1, MAX_LID_OPENNESS]), np.array([0, knot_height, full, MAX_LID_OPENNESS * full])


def _build_eyes(portrait: Portrait, head: np.ndarray, image_rings: dict[str, np.ndarray]) -> dict[str, EyeLayers]:
    balls = locate_eyeballs(head)
    eyes = {}
    for k, side in enumerate(SIDES):
        gaze = portrait.gaze[2 * k : 2 * k + 2]
        anchors = crop_to_image(portrait, project_eye_anchors(balls[side], portrait.pose, gaze))
        ring = image_rings[side + "_eye"]
        eyes[side] = build_eye_layers(portrait.image, ring, portrait.points, balls[side], anchors, side)
    return eyes


def estimate_skin_color(portrait: Portrait) -> np.ndarray:
    """Median color (3,) of the cheeks."""
    height, width = portrait.image.shape[:2]
    cheeks = np.clip(portrait.points[_CHEEKS].astype(int), 0, [width - 1, height - 1])
    return np.median(portrait.image[cheeks[:, 1], cheeks[:, 0]].astype(float), axis=0)
