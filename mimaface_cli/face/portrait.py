"""The source of an animation: a picture, where its face lies, and its coefficients."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mimaface_cli.face.alignment import box_similarity, square_box, transform_points
from mimaface_cli.face.extract_face478 import extract_photo
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.landmarks import choose, find_faces
from mimaface_cli.face.shots import no_face

SQUARE = 512


@dataclass(frozen=True)
class Portrait:
    """image: H×W×3 uint8 RGB; alpha: H×W uint8 or None; points: 478×2 landmarks in its pixels; to_crop: 2×3 affine
    (scale and shift) to the 256 crop; identity 80, expression 64, pose 6, gaze 4 in the face478 space;
    scores: 52, what the landmark model saw, None where it was not asked.
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

    def warped(self, matrix: np.ndarray, width: int, height: int) -> "Portrait":
        """The same portrait in another frame, by a 2×3 affine of scale and shift on pixels."""
        centers = matrix.copy()
        centers[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts from pixel centers
        shrink = float(matrix[0, 0])
        flags = cv2.INTER_CUBIC
        source = self.image
        if shrink < 0.75:  # cubic sampling alone would skip pixels
            sigma = 0.4 / shrink
            source = cv2.GaussianBlur(source, (0, 0), sigma)
        image = cv2.warpAffine(source, centers, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        alpha = self.alpha
        if alpha is not None:
            alpha = cv2.warpAffine(alpha, centers, (width, height), flags=cv2.INTER_LINEAR)
        inverse = cv2.invertAffineTransform(matrix)
        to_crop = self.to_crop[:, :2] @ inverse
        to_crop[:, 2] += self.to_crop[:, 2]
        return replace(self, image=image, alpha=alpha, points=transform_points(matrix, self.points), to_crop=to_crop)

    def square(self) -> "Portrait":
        """The paper's 512 square around the face (release: the box of the landmarks at 80..432)."""
        return self.warped(self.square_matrix(), SQUARE, SQUARE)

    def square_matrix(self) -> np.ndarray:
        """The 2×3 affine of that square."""
        return box_similarity(square_box(self.points))

    def limited(self, longest: int) -> "Portrait":
        """The portrait scaled down so that neither side exceeds `longest` pixels; 0: as it is."""
        height, width = self.image.shape[:2]
        size = limited_size(width, height, longest)
        if size == (width, height):
            return self
        # One scale for both axes keeps the crop a similarity; the rounding of a side stays below one pixel.
        scale = longest / max(width, height)
        return self.warped(np.array([[scale, 0, 0], [0, scale, 0.0]]), *size)


def limited_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Width and height scaled down so that neither exceeds `longest`; 0: as they are."""
    if not longest or max(width, height) <= longest:
        return width, height
    scale = longest / max(width, height)
    return max(2, round(width * scale)), max(2, round(height * scale))


def portrait_from_photo(
    image: np.ndarray, alpha: np.ndarray | None, model: Face478, face: str = "largest", name: str = "photo"
) -> Portrait:
    """Find and fit the face of a picture H×W×3 uint8 RGB. Raises InputError when it shows no (such) face."""
    faces = find_faces(image)
    chosen = choose(faces, face)
    if chosen is None:
        raise no_face(name, len(faces), face)
    track = extract_photo(image, chosen, model, ExtractOptions(face))
    return Portrait(
        image,
        alpha,
        chosen.points,
        track.crop[0].astype(np.float64),
        track.identity.astype(np.float64),
        track.expression[0].astype(np.float64),
        track.pose[0].astype(np.float64),
        track.gaze[0].astype(np.float64),
        chosen.scores,
    )
