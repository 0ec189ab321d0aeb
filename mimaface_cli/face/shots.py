"""One person through a video, shot by shot: what every way of reading coefficients starts from."""

from collections.abc import Iterable, Iterator
from typing import Any

from mimaface_cli.errors import InputError
from mimaface_cli.face.landmarks import Face, FaceFollower
from mimaface_cli.face.scene_cuts import CutDetector


def follow(frames: Iterable, choice: str, name: str = "video") -> Iterator[tuple[Any, Face | None, bool]]:
    """Each frame (with `image`, H×W×3 uint8 RGB, and `pts`, s), the followed face in it if seen, and whether a shot
    begins. Raises InputError at the end when there was no frame, or none that showed the face.
    """
    follower, cut = FaceFollower(choice), CutDetector()
    count, seen = 0, False
    try:
        for count, frame in enumerate(frames, 1):
            is_cut = cut(frame.image)
            if is_cut:
                follower.new_shot()
            face = follower(frame.image, frame.pts)
            seen = seen or face is not None
            yield frame, face, is_cut
    finally:
        follower.close()
    if not count:
        raise InputError(f"{name}: holds no frames; choose another file")
    if not seen:
        raise no_face(name, follower.people, choice)


def no_face(name: str, people: int, choice: str) -> InputError:
    """The one line for an input without the wanted face (choice: as for `choose`)."""
    if people:
        return InputError(
            f"{name}: shows {people} face(s) but not number {choice} from the left; choose a lower one with --face "
            "(--driver-face)"
        )
    return InputError(f"{name}: shows no face; use a sharp, upright picture in which a face fills a good part")
