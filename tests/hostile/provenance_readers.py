"""Readers of provenance: metadata and signatures in outputs, and sidecar files."""

import importlib.util
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.reader import Reader

_FRAMES = {".png": 1, ".jpg": 1, ".webp": 1, ".tif": 1, ".mp4": 3, ".mov": 3, ".mkv": 3}
if importlib.util.find_spec("OpenEXR"):
    _FRAMES[".exr"] = 1
_SIGNED_SUFFIXES = (".jpg", ".png", ".mp4") if importlib.util.find_spec("c2pa") else ()


def _build_record(folder: Path) -> Any:
    from mimaface_cli.provenance.record import Generation, build_record

    (folder / "photo.jpg").write_bytes(b"1")
    return build_record(Generation("edit", "mesh", {"source": folder / "photo.jpg"}, [], {"strength": 1.0}, False))


def _make_sidecar() -> bytes:
    from mimaface_cli.provenance.record import SUFFIX, write_record

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"input.bmp{SUFFIX}"
        write_record(path, Path(_write_blank_image(path)), _build_record(Path(folder)), {"watermark": True})
        return path.read_bytes()


def _write_blank_image(sidecar: Path) -> Path:
    path = sidecar.with_name("input.bmp")
    Image.new("RGB", (40, 30)).save(path)
    return path


def _inspect_sidecar(path: Path) -> object:
    return _inspect(_write_blank_image(path))


def _make_result(
    suffix: str, size: tuple[int, int] = (64, 48), frames: int = 1, signed: bool = False
) -> Callable[[], bytes]:
    """Return a function that makes an output with all metadata that the project writes."""

    def make() -> bytes:
        from mimaface_cli.media.attachments import Attachments
        from mimaface_cli.media.writer import open_writer
        from mimaface_cli.provenance import metadata

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            record = _build_record(folder)
            seal = _make_seal(folder, record) if signed else None
            attachments = Attachments(metadata.make_tags(record), metadata.make_xmp(record), seal)
            with open_writer(folder / f"a{suffix}", *size, Fraction(25), attachments=attachments) as writer:
                for number in range(frames):
                    writer.write(np.full((size[1], size[0], 3), 40 + number, np.uint8), number / 25)
            return (folder / f"a{suffix}").read_bytes()

    return make


def _make_seal(folder: Path, record: Any) -> Callable[[Path], None]:
    """Return a function that signs a file with a new certificate."""
    from mimaface_cli.provenance import credentials
    from tests.provenance import certificates

    signer = credentials.load_certificate(*certificates.make_certificate(folder))
    return lambda path: credentials.sign(path, signer, record, {})


def _inspect(path: Path) -> object:
    from mimaface_cli.cli.inspect import _lines
    from mimaface_cli.provenance.inspect import inspect

    result = inspect(path)
    return _lines(result), result.identifiers, result.is_generated, result.is_consistent


PROVENANCE_READERS = (
    Reader("record", ".json", _make_sidecar, _inspect_sidecar, required_name="input.bmp.provenance.json"),
    *(
        Reader(f"metadata of {suffix[1:]}", suffix, _make_result(suffix, frames=count), _inspect)
        for suffix, count in _FRAMES.items()
    ),
    *(
        Reader(f"signed {suffix[1:]}", suffix, _make_result(suffix, frames=_FRAMES[suffix], signed=True), _inspect)
        for suffix in _SIGNED_SUFFIXES
    ),
)
