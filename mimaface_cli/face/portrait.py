"""A portrait: an image with the landmarks and the face478 coefficients of one face."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.face.alignment import box_similarity, square_box, transform_points
from mimaface_cli.face.detection import detect_upright_faces
from mimaface_cli.face.extract_face478 import extract_photo
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.face_view import FaceView
from mimaface_cli.face.landmarks import Face, select_face
from mimaface_cli.face.shots import no_face_error
from mimaface_cli.motion.coefficients import Coefficients

SQUARE = 512
_OPAQUE = 127  # alpha above which a landmark counts as visible
_BLUR_BELOW = 0.75  # scale below which bicubic sampling alone would skip pixels


@dataclass(frozen=True)
class Portrait:
    """An image with the landmarks of a face and its coefficients in the face478 space.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) uint8, or None without transparency.
        points: (478, 2) landmarks in pixels of the image.
        to_crop: (2, 3) transform (scale and shift) to the 256 crop.
        identity: (80,).
        expression: (64,).
        pose: (6,).
        gaze: (4,).
        scores: (52,) blendshape scores of the landmark model, or None when unknown.
        illumination: (27,) spherical-harmonic light in camera axes, or None when unknown.
        other_faces: Landmarks (478, 2) of the other faces in the image.
        turns: Quarter turns counterclockwise that the photo was turned by, so that the face is upright in `image`.
    """

    image: np.ndarray
    alpha: np.ndarray | None
    points: np.ndarray
    to_crop: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    pose: np.ndarray
    gaze: np.ndarray
    scores: np.ndarray | None = None
    illumination: np.ndarray | None = None
    other_faces: tuple[np.ndarray, ...] = ()
    turns: int = 0

    @property
    def visible_share(self) -> float:
        """Share of the face's landmarks that lie in the image; below 1, the border cuts the face."""
        height, width = self.image.shape[:2]
        return float(((self.points >= 0) & (self.points <= [width, height])).all(1).mean())

    @property
    def coefficients(self) -> Coefficients:
        """Expression, pose and gaze as a sequence of one frame."""
        return Coefficients(self.expression[None], self.pose[None], self.gaze[None])

    def warped(self, matrix: np.ndarray, width: int, height: int) -> "Portrait":
        """Return the portrait on another canvas.

        Args:
            matrix: (2, 3) transform, scale and shift only, of the image's pixels (centers at i + 0.5) to the canvas.
            width: Width of the canvas in pixels.
            height: Height of the canvas in pixels.
        """
        image = warp_image(self.image, matrix, width, height)
        alpha = None if self.alpha is None else warp_alpha(self.alpha, matrix, width, height)
        inverse = cv2.invertAffineTransform(matrix)
        to_crop = self.to_crop[:, :2] @ inverse
        to_crop[:, 2] += self.to_crop[:, 2]
        return replace(
            self,
            image=image,
            alpha=alpha,
            points=transform_points(matrix, self.points),
            to_crop=to_crop,
            other_faces=tuple(transform_points(matrix, points) for points in self.other_faces),
        )

    def square(self) -> "Portrait":
        """Return the paper's 512 square around the face (release: the box of the landmarks at 80..432)."""
        return self.warped(self.square_matrix(), SQUARE, SQUARE)

    def square_matrix(self) -> np.ndarray:
        """Return the (2, 3) transform of the image to that square."""
        return box_similarity(square_box(self.points))

    def limited(self, max_side: int) -> "Portrait":
        """Return the portrait scaled down so that neither side exceeds `max_side` pixels; 0 means no limit."""
        height, width = self.image.shape[:2]
        size = limited_size(width, height, max_side)
        return self if size == (width, height) else self.warped(limiting_matrix(width, height, max_side), *size)


def warp_image(image: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return colors (H, W, 3), uint8 or uint16, on another canvas; arguments as for `Portrait.warped`."""
    scale = float(matrix[0, 0])
    source = image
    if scale < _BLUR_BELOW:
        source = cv2.GaussianBlur(source, (0, 0), 0.4 / scale)
    return cv2.warpAffine(
        source, _opencv_matrix(matrix), (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )


def warp_alpha(alpha: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return alpha (H, W), uint8 or uint16, on another canvas; arguments as for `Portrait.warped`."""
    return cv2.warpAffine(alpha, _opencv_matrix(matrix), (width, height), flags=cv2.INTER_LINEAR)


def _opencv_matrix(matrix: np.ndarray) -> np.ndarray:
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV has pixel centers at integers
    return moved


def crop_to_image(portrait: Portrait, crop_pixels: np.ndarray) -> np.ndarray:
    """Convert pixels (..., 2) of a portrait's 256 crop to pixels of its image."""
    return (crop_pixels - portrait.to_crop[:, 2]) / portrait.to_crop[0, 0]


def limiting_matrix(width: int, height: int, max_side: int) -> np.ndarray:
    """Return the (2, 3) transform of an image that is larger than `max_side` pixels to its limited size.

    One scale for both axes keeps the crop a similarity; rounding a side to whole pixels adds less than a pixel.
    """
    scale = max_side / max(width, height)
    return np.array([[scale, 0, 0], [0, scale, 0.0]])


def limited_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Return width and height scaled down so that neither exceeds a limit.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        max_side: Largest width and height in pixels, or 0 for no limit.

    Returns:
        Width and height with the same aspect ratio, rounded, at least 2 if scaled down.
    """
    if not max_side or max(width, height) <= max_side:
        return width, height
    scale = max_side / max(width, height)
    return max(2, round(width * scale)), max(2, round(height * scale))


def _is_opaque(face: Face, alpha: np.ndarray) -> bool:
    """Return whether most landmarks of a face are at opaque pixels of an image with alpha (H, W) uint8."""
    height, width = alpha.shape
    columns, rows = np.clip(face.points, 0, [width - 1, height - 1]).astype(int).T
    return bool((alpha[rows, columns] > _OPAQUE).mean() > 0.5)


def portrait_from_photo(
    image: np.ndarray, alpha: np.ndarray | None, model: Face478, face: str = "largest", name: str = "photo"
) -> Portrait:
    """Detect and fit the face of a photo, which may lie on its side or be upside down.

    Args:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) uint8, or None without transparency.
        model: The face model.
        face: Face selector.
        name: Name of the photo in error messages.

    Raises:
        InputError: When the photo does not show the selected face.
    """
    turns, faces = detect_upright_faces(image)
    view = FaceView(turns)
    image, alpha = view.apply(image), None if alpha is None else view.apply(alpha)
    if alpha is not None:
        visible = [face for face in faces if _is_opaque(face, alpha)]
        if faces and not visible:
            raise InputError(f"{name}: its face is transparent. Use a photo in which the face is visible.")
        faces = visible
    selected = select_face(faces, face)
    if selected is None:
        raise no_face_error(name, len(faces), face)
    track = extract_photo(image, selected, model, ExtractOptions(face))
    return Portrait(
        image,
        alpha,
        selected.points,
        track.crop[0].astype(np.float64),
        track.identity.astype(np.float64),
        track.expression[0].astype(np.float64),
        track.pose[0].astype(np.float64),
        track.gaze[0].astype(np.float64),
        selected.scores,
        track.illumination[0].astype(np.float64),
        tuple(other.points for other in faces if other is not selected),
        turns,
    )
