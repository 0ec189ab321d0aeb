"""Description of a model in the registry: files, hashes and places to get them from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Carrier:
    """An installable Python package that contains a model file.

    Attributes:
        package: Import name of the package.
        pattern: Glob of the file in the package's folder.
        extra: Extra of this project that installs the package, or None if none does.
    """

    package: str
    pattern: str
    extra: str | None


@dataclass(frozen=True)
class HubFile:
    """A file in a model repository on the Hugging Face hub.

    Attributes:
        repo: Repository, as owner/name.
        path: The file's path in the repository.
        sha256: SHA-256 (hex), or None to use the hash that the hub reports.
        size: Size in bytes, or None if unknown.
    """

    repo: str
    path: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class AssetFile:
    """One installed file of an asset. It has a hash, hub files, or ships with the project.

    Attributes:
        path: Path in the weights folder, with forward slashes.
        sha256: SHA-256 (hex) of the file at `url`.
        size: Size in bytes of the file at `url`.
        url: Official public address.
        carriers: Python packages that contain the file.
        is_shipped: Whether the project ships the file.
        hub: Places on the Hugging Face hub, in order of preference.
        content: Content type: a key of `checkpoint_layouts.NETWORK_LAYOUTS` for a network, which is converted to
            safetensors, or a key of `checkpoint_files.UNCONVERTED_CHECKS`. None for a file that is installed byte for
            byte without a check of its content.
    """

    path: str
    sha256: str | None = None
    size: int | None = None
    url: str | None = None
    carriers: tuple[Carrier, ...] = ()
    is_shipped: bool = False
    hub: tuple[HubFile, ...] = ()
    content: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is None and not self.is_shipped and not self.hub:
            raise ValueError(f"{self.path}: a file from outside the project needs a hash")

    @property
    def expected_size(self) -> int | None:
        """Size of the download in bytes, or None if unknown."""
        return next((file.size for file in self.hub if file.size), None) if self.hub else self.size


@dataclass(frozen=True)
class Asset:
    """A model of one or more files.

    Attributes:
        name: Name on the command line.
        purpose: What the model does, in a few words.
        license: Licenses of the model and its parts.
        files: The model's files.
        needed_for: Elements of `registry.PURPOSES` that need the model. Empty for a small model of the embedded engine.
        is_optional: Whether a small model only improves results. A small model that every command needs is downloaded
            on first use; an optional one is not.
        approximate_size: Rough size of the download in bytes, if the sizes of the files are unknown.
    """

    name: str
    purpose: str
    license: str
    files: tuple[AssetFile, ...]
    needed_for: tuple[str, ...] = ()
    is_optional: bool = False
    approximate_size: int | None = None

    @property
    def expected_size(self) -> int | None:
        """Size of the download in bytes without the small configs, or None if unknown."""
        sizes = [file.expected_size for file in self.files if not file.path.endswith(".json")]
        known_sizes = [size for size in sizes if size]
        return sum(known_sizes) if sizes and len(known_sizes) == len(sizes) else self.approximate_size
