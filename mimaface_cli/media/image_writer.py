"""Writers of frames as one image, or as an image sequence in a new folder."""

import os
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mimaface_cli.concurrency import BackgroundConsumer
from mimaface_cli.errors import OutputError
from mimaface_cli.files import atomic_path, output_error, temporary_path
from mimaface_cli.leftovers import remove_if_killed
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.deep_frame import DeepFrame
from mimaface_cli.media.deep_image_writer import save_deep_image
from mimaface_cli.media.image import check_image_suffix, save_image

RATE_TAG = "frame_rate"
"""Tag of each image of a sequence with its frame rate, such as 30000/1001."""

_FRAME_NUMBER = re.compile(r"[^%]*%(0\d)?d[^%]*")


class ImageWriter:
    """Writer of a single frame as an image file, which is written when the `with` block ends.

    Args:
        path: File to write.
        width: Width of the frame.
        height: Height of the frame.
        attachments: Metadata to write.

    Attributes:
        frames: Number of frames written so far (0 or 1).

    Raises:
        OutputError: If the suffix is not that of an image.
    """

    def __init__(self, path: Path, width: int, height: int, *, attachments: Attachments = Attachments()) -> None:
        self.path = Path(path)
        check_image_suffix(self.path)
        self.frames = 0
        self._size = (height, width)
        self._attachments = attachments
        self._image: np.ndarray | DeepFrame | None = None

    def write(self, image: np.ndarray | DeepFrame, pts: float) -> None:
        """Set the frame.

        Args:
            image: (H, W, 3) or (H, W, 4), uint8, copied; or a deep frame.
            pts: Ignored.

        Raises:
            OutputError: For a second frame.
        """
        if self._image is not None:
            raise OutputError(f"{self.path}: an image holds one frame. Name a video or a folder/ instead.")
        _check_frame(image, self._size)
        check_image_suffix(self.path, _has_alpha(image))
        self._image = image if isinstance(image, DeepFrame) else image.copy()
        self.frames = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            return
        if self._image is None:
            raise no_frames_error(self.path)
        with atomic_path(self.path) as temporary:
            _save(temporary, self._image, self._attachments.tags, self._attachments.xmp)
            if self._attachments.seal is not None:
                self._attachments.seal(temporary)


class SequenceWriter:
    """Writer of numbered images, from 0, into a folder that appears when all of them are complete.

    Args:
        path: Pattern such as `out/%05d.png`.
        width: Width of the frames.
        height: Height of the frames.
        frame_rate: Frame rate, which every image states in a tag.
        attachments: Metadata to write into every image.

    Attributes:
        frames: Number of frames written so far.

    Raises:
        OutputError: If the pattern has no frame number, or the folder exists and is not empty.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        frame_rate: Fraction,
        *,
        attachments: Attachments = Attachments(),
    ) -> None:
        self.path = Path(path)
        check_image_suffix(self.path)
        if not _FRAME_NUMBER.fullmatch(self.path.name) or "%" in str(self.path.parent):
            raise OutputError(
                f"{self.path}: the file name of an image sequence needs one number such as %05d, and no other %. "
                "Name it frames/%05d.png."
            )
        self.folder = self.path.parent
        if not self.folder.name:
            raise OutputError(f"{self.path}: an image sequence needs a new or empty folder. Name it frames/%05d.png.")
        try:
            is_occupied = self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir()))
        except OSError as error:
            raise output_error(self.folder, error) from error
        if is_occupied:
            raise OutputError(f"{self.folder}: exists already and is not an empty folder. Choose another name.")
        self.frames = 0
        self._size = (height, width)
        self._attachments = attachments
        self._tags = {**(attachments.tags or {}), RATE_TAG: str(Fraction(frame_rate))}

    def write(self, image: np.ndarray | DeepFrame, pts: float) -> None:
        """Add a frame.

        Args:
            image: (H, W, 3) or (H, W, 4), uint8, copied; or a deep frame.
            pts: Ignored.

        Raises:
            OutputError: If an earlier frame could not be written.
        """
        _check_frame(image, self._size)
        check_image_suffix(self.path, _has_alpha(image))
        kept = image if isinstance(image, DeepFrame) else image.copy()
        self._consumer.put((kept, self._temporary / (self.path.name % self.frames)))
        self.frames += 1

    def __enter__(self) -> Self:
        self._temporary = temporary_path(self.folder)
        self._guard = ExitStack()
        self._guard.enter_context(remove_if_killed(self._temporary))
        try:
            self._temporary.mkdir()
            self._consumer = BackgroundConsumer(self._save)
        except BaseException as error:  # also a signal: no other code would remove the folder
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._guard.close()
            if isinstance(error, OSError):
                raise output_error(self.folder, error) from error
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._consumer.finish()
                if not self.frames:
                    raise no_frames_error(self.folder)
                if self._attachments.seal is not None:
                    self._attachments.seal(self._temporary)
                self._rename()
        finally:
            self._consumer.abort()
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._guard.close()

    def _save(self, item: tuple[np.ndarray | DeepFrame, Path]) -> None:
        image, path = item
        try:
            _save(path, image, self._tags, self._attachments.xmp)
        except OSError as error:
            raise output_error(self.folder, error) from error

    def _rename(self) -> None:
        try:
            if self.folder.is_dir():
                self.folder.rmdir()  # not every system lets os.replace replace an empty folder
            os.replace(self._temporary, self.folder)
        except OSError as error:
            raise output_error(self.folder, error) from error


def no_frames_error(path: Path) -> OutputError:
    """Return the OutputError for an output without frames."""
    return OutputError(f"{path}: nothing was written, because there were no frames. Check the input.")


def _check_frame(image: np.ndarray | DeepFrame, size: tuple[int, int]) -> None:
    array, dtype = (image.pixels, np.uint16) if isinstance(image, DeepFrame) else (image, np.uint8)
    if array.shape not in ((*size, 3), (*size, 4)) or array.dtype != dtype:
        raise ValueError(f"a frame is {array.dtype} {array.shape}, not {dtype.__name__} {(*size, 3)} or {(*size, 4)}")


def _has_alpha(image: np.ndarray | DeepFrame) -> bool:
    return (image.pixels if isinstance(image, DeepFrame) else image).shape[2] == 4


def _save(path: Path, image: np.ndarray | DeepFrame, tags: Mapping[str, str] | None, xmp: bytes | None) -> None:
    if isinstance(image, DeepFrame):
        save_deep_image(path, image, tags=tags, xmp=xmp)
        return
    alpha = image[..., 3] if image.shape[2] == 4 else None
    save_image(path, image[..., :3], alpha, tags=tags, xmp=xmp)
