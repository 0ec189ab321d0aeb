"""What a file says about itself: container tags, EXIF and XMP with the IPTC term for generated media."""

import json
import re
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from PIL import ExifTags
from PIL import Image as Pillow

from mimaface_cli.errors import InputError
from mimaface_cli.media.exr import load_exr
from mimaface_cli.media.image import image_kind
from mimaface_cli.media.libav import open_input
from mimaface_cli.media.xmp import read_xmp_box
from mimaface_cli.provenance.record import Record

_SPACES = {
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mimaface": "https://mimaface/ns/1/",
}
_LARGEST = 1 << 20  # bytes of a tag that is looked at


def tags(record: Record) -> dict[str, str]:
    """Texts for a container's tags, or for a picture's EXIF description."""
    version = record.content["generator"]["version"]
    told = {
        "generator": "mimaface",
        "version": version,
        "engine": record.engine,
        "digitalSourceType": record.source_type,
        "identifier": record.name,
    }
    said = f"Generated face animation (AI): mimaface {version}, engine {record.engine}"
    return {"comment": said, "description": json.dumps(told)}


def xmp(record: Record) -> bytes:
    """An XMP packet."""
    spaces = " ".join(f'xmlns:{name}="{address}"' for name, address in _SPACES.items())
    values = {
        "xmp:CreatorTool": f"mimaface {record.content['generator']['version']}",
        "Iptc4xmpExt:DigitalSourceType": record.source_type,
        "mimaface:Engine": record.engine,
        "mimaface:Identifier": record.name,
    }
    written = " ".join(f"{name}={quoteattr(value)}" for name, value in values.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces} {written}/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def read(path: Path) -> dict[str, Any] | None:
    """What a file says of itself: generator, version, engine, digitalSourceType, identifier and comment, as far as
    they are there, and whether its XMP says so too (xmp); None where nothing of it names mimaface. Raises
    InputError.
    """
    if path.suffix.lower() == ".exr":
        texts, packet = load_exr(path)[1], b""
    else:
        texts, packet = _picture_texts(path) if image_kind(path) == "image" else _video_texts(path)
    told: dict[str, Any] = {}
    for text in texts.values():
        told = _told(text) or told
    found = _from_packet(packet)
    if not told and not found and "mimaface" not in texts.get("comment", ""):
        return None
    told = found | told | {"xmp": bool(found)}
    return told | ({"comment": texts["comment"]} if "comment" in texts else {})


def _told(text: str) -> dict[str, str]:
    """What `tags` has written, from the tag's text."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(values, dict) or values.get("generator") != "mimaface":
        return {}
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _video_texts(path: Path) -> tuple[dict[str, str], bytes]:
    with open_input(path) as container:
        texts = {key.lower(): value for key, value in container.metadata.items() if len(value) <= _LARGEST}
    return texts, read_xmp_box(path)


def _picture_texts(path: Path) -> tuple[dict[str, str], bytes]:
    try:
        with Pillow.open(path) as image:
            exif = image.getexif()
            said = exif.get(ExifTags.Base.ImageDescription, "")
            packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or exif.get(ExifTags.Base.XMLPacket)
    except Exception as error:  # parsers of damaged bytes may raise anything
        raise InputError(f"{path}: the picture is damaged or cut short; get the whole file") from error
    packet = packet.encode() if isinstance(packet, str) else bytes(packet or b"")
    try:
        values = json.loads(said) if isinstance(said, str) and len(said) <= _LARGEST else {}
    except (ValueError, RecursionError):
        values = {}
    values = values if isinstance(values, dict) else {}
    return {key: value for key, value in values.items() if isinstance(value, str)}, packet


def _from_packet(packet: bytes) -> dict[str, str]:
    """What `xmp` has written. Read by pattern, not by an XML parser: the file may be anybody's."""
    text = packet[:_LARGEST].decode(errors="replace")
    tool = re.search(r'xmp:CreatorTool="mimaface ([^"]{1,40})"', text)
    if not tool:
        return {}
    names = {"digitalSourceType": "Iptc4xmpExt:DigitalSourceType", "engine": "mimaface:Engine"}
    names["identifier"] = "mimaface:Identifier"
    found = {key: re.search(rf'{name}="([^"]{{1,200}})"', text) for key, name in names.items()}
    return {"generator": "mimaface", "version": tool[1]} | {key: hit[1] for key, hit in found.items() if hit}
