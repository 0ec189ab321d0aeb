"""Metadata inside a file: container tags, EXIF and XMP with the IPTC term for generated media."""

import json
import re
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from PIL import ExifTags
from PIL import Image as Pillow

from mimaface_cli.errors import InputError
from mimaface_cli.media.animated_webp import is_animated_webp
from mimaface_cli.media.exr import read_exr_tags
from mimaface_cli.media.image import image_kind
from mimaface_cli.media.libav import open_input
from mimaface_cli.media.xmp import read_xmp_box
from mimaface_cli.provenance.record import Record

_NAMESPACES = {
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mimaface": "https://mimaface/ns/1/",
}
_MAX_TAG_BYTES = 1 << 20
_XMP_PROPERTIES = {
    "digitalSourceType": "Iptc4xmpExt:DigitalSourceType",
    "engine": "mimaface:Engine",
    "identifier": "mimaface:Identifier",
}


def make_comment(version: str, engine: str) -> str:
    """Return the sentence that states that a file is generated."""
    return f"Generated face animation (AI): mimaface {version}, engine {engine}"


def make_tags(record: Record) -> dict[str, str]:
    """Return the texts for a container's tags, or for an image's EXIF description."""
    values = {
        "generator": "mimaface",
        "version": record.version,
        "engine": record.engine,
        "digitalSourceType": record.source_type,
        "identifier": record.name,
    }
    return {"comment": make_comment(record.version, record.engine), "description": json.dumps(values)}


def make_xmp(record: Record) -> bytes:
    """Return the XMP packet of a record."""
    namespaces = " ".join(f'xmlns:{name}="{address}"' for name, address in _NAMESPACES.items())
    values = {
        "xmp:CreatorTool": f"mimaface {record.version}",
        "Iptc4xmpExt:DigitalSourceType": record.source_type,
        "mimaface:Engine": record.engine,
        "mimaface:Identifier": record.name,
    }
    attributes = " ".join(f"{name}={quoteattr(value)}" for name, value in values.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {namespaces} {attributes}/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Read the metadata about a file's generation.

    Args:
        path: A video or an image.

    Returns:
        The available values of generator, version, engine, digitalSourceType, identifier and comment, and `xmp`:
        whether the XMP packet names mimaface too. None if nothing names mimaface.

    Raises:
        InputError: For a file that cannot be read.
    """
    packet = b""
    if path.suffix.lower() == ".exr":
        texts = read_exr_tags(path)
    elif image_kind(path) == "image" or is_animated_webp(path):
        texts, packet = _read_image_texts(path)
    else:
        texts, packet = _read_video_texts(path)
    tag_values: dict[str, str] = {}
    for text in texts.values():
        tag_values = _parse_tag(text) or tag_values
    xmp_values = _parse_xmp(packet)
    if not tag_values and not xmp_values and "mimaface" not in texts.get("comment", ""):
        return None
    values: dict[str, Any] = xmp_values | tag_values | {"xmp": bool(xmp_values)}
    if "comment" in texts:
        values["comment"] = texts["comment"]
    return values


def _parse_tag(text: str) -> dict[str, str]:
    """Return the values that `make_tags` wrote into a tag, or {} for other text."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(values, dict) or values.get("generator") != "mimaface":
        return {}
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _read_video_texts(path: Path) -> tuple[dict[str, str], bytes]:
    """Return the tags of a container by lower-case name, and its XMP packet."""
    with open_input(path) as container:
        texts = {key.lower(): value for key, value in container.metadata.items() if len(value) <= _MAX_TAG_BYTES}
    return texts, read_xmp_box(path)


def _read_image_texts(path: Path) -> tuple[dict[str, str], bytes]:
    """Return the values of an image's EXIF description, and its XMP packet."""
    try:
        with Pillow.open(path) as image:
            exif = image.getexif()
            description = exif.get(ExifTags.Base.ImageDescription, "")
            packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or exif.get(ExifTags.Base.XMLPacket)
    except Exception as error:  # parsers of damaged bytes may raise anything
        raise InputError(f"{path}: the image is damaged or incomplete. Get the complete file.") from error
    packet = packet.encode() if isinstance(packet, str) else bytes(packet or b"")
    try:
        is_readable = isinstance(description, str) and len(description) <= _MAX_TAG_BYTES
        values = json.loads(description) if is_readable else {}
    except (ValueError, RecursionError):
        values = {}
    values = values if isinstance(values, dict) else {}
    return {key: value for key, value in values.items() if isinstance(value, str)}, packet


def _parse_xmp(packet: bytes) -> dict[str, str]:
    """Return the values that `make_xmp` wrote.

    The packet is searched by pattern, not by an XML parser, because the file may come from anyone.
    """
    text = packet[:_MAX_TAG_BYTES].decode(errors="replace")
    tool = re.search(r'xmp:CreatorTool="mimaface ([^"]{1,40})"', text)
    if not tool:
        return {}
    values = {"generator": "mimaface", "version": tool[1]}
    for key, name in _XMP_PROPERTIES.items():
        if match := re.search(rf'{name}="([^"]{{1,200}})"', text):
            values[key] = match[1]
    return values
