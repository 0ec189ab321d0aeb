"""Frames out as pictures: a single one, or numbered ones in a new folder; PNG, WebP and TIFF keep transparency."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mimaface_cli.concurrency import BackgroundConsumer
from mimaface_cli.errors import OutputError
from mimaface_cli.files import output_error, temporary_path
from mimaface_cli.media.image import check_image_suffix, save_image, write_image


class ImageWriter:
    """Writes the one frame it is given; a second one is an error."""

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        *,
        metadata: dict[str, str] | None = None,
        xmp: bytes | None = None,
        seal: Callable[[Path], None] | None = None,
    ) -> None:
        """Raises OutputError for a suffix that pictures cannot have."""
        self.path = Path(path)
        check_image_suffix(self.path)
        self.frames = 0
        self._size = (height, width)
        self._about = {"metadata": metadata, "xmp": xmp, "seal": seal}
        self._image: np.ndarray | None = None

    def write(self, image: np.ndarray, pts: float) -> None:
        """Take the frame: HxWx3 or HxWx4 uint8; `pts` has no meaning here. Raises OutputError for a second one."""
        if self._image is not None:
            raise OutputError(f"{self.path}: a picture holds one frame; name a video or a folder/ instead")
        _check_frame(image, self._size)
        check_image_suffix(self.path, image.shape[2] == 4)
        self._image = image.copy()
        self.frames = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            return
        if self._image is None:
            raise OutputError(f"{self.path}: no frames came, so nothing was written")
        write_image(self.path, *_split(self._image), **self._about)


class SequenceWriter:
    """Writes numbered pictures, from 0, into a folder that appears when all of them are there."""

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        *,
        metadata: dict[str, str] | None = None,
        xmp: bytes | None = None,
        seal: Callable[[Path], None] | None = None,
    ) -> None:
        """`path` such as `out/%05d.png`. Raises OutputError when it cannot be numbered or the folder is taken."""
        self.path = Path(path)
        check_image_suffix(self.path)
        if not re.fullmatch(r"[^%]*%(0\d)?d[^%]*", self.path.name) or "%" in str(self.path.parent):
            raise OutputError(f"{self.path}: one number such as %05d belongs in the file name, and no other %")
        self.folder = self.path.parent
        if not self.folder.name:
            raise OutputError(f"{self.path}: numbered pictures need a folder of their own; name frames/%05d.png")
        try:
            taken = self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir()))
        except OSError as error:
            raise output_error(self.folder, error) from error
        if taken:
            raise OutputError(f"{self.folder}: exists already and is not an empty folder; choose another name")
        self.frames = 0
        self._size = (height, width)
        self._about = {"metadata": metadata, "xmp": xmp}
        self._seal = seal

    def write(self, image: np.ndarray, pts: float) -> None:
        """Add a frame: HxWx3 or HxWx4 uint8 (copied); `pts` has no meaning here. Raises OutputError."""
        _check_frame(image, self._size)
        check_image_suffix(self.path, image.shape[2] == 4)
        self._worker.put((image.copy(), self._temporary / (self.path.name % self.frames)))
        self.frames += 1

    def __enter__(self) -> Self:
        self._temporary = temporary_path(self.folder)
        try:
            self._temporary.mkdir()
            self._worker = BackgroundConsumer(self._save)
        except BaseException as error:  # a signal as well: nobody else knows of the folder yet
            shutil.rmtree(self._temporary, ignore_errors=True)
            if isinstance(error, OSError):
                raise output_error(self.folder, error) from error
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._worker.finish()
                if not self.frames:
                    raise OutputError(f"{self.folder}: no frames came, so nothing was written")
                if self._seal is not None:
                    self._seal(self._temporary)
                self._move()
        finally:
            self._worker.abort()
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _save(self, item: tuple[np.ndarray, Path]) -> None:
        image, path = item
        try:
            save_image(path, *_split(image), **self._about)
        except OSError as error:
            raise output_error(self.folder, error) from error

    def _move(self) -> None:
        try:
            if self.folder.is_dir():
                self.folder.rmdir()  # os.replace takes the place of an empty folder on some systems only
            os.replace(self._temporary, self.folder)
        except OSError as error:
            raise output_error(self.folder, error) from error


def _check_frame(image: np.ndarray, size: tuple[int, int]) -> None:
    if image.shape not in ((*size, 3), (*size, 4)) or image.dtype != np.uint8:
        raise ValueError(f"a frame is {image.dtype} {image.shape}, not uint8 {(*size, 3)} or {(*size, 4)}")


def _split(image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    return image[..., :3], image[..., 3] if image.shape[2] == 4 else None
