"""Videos and images with more than 8 bits per channel, written and read with bare PyAV."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

PQ, HLG = 16, 18


@dataclass(frozen=True)
class Color:
    """Code points of a video."""

    primaries: int = 1
    transfer: int = 1
    matrix: int = 1


SDR, PQ_2020, HLG_2020 = Color(), Color(9, PQ, 9), Color(9, HLG, 9)


def planes_of(frame: VideoFrame) -> list[np.ndarray]:
    """Return views of the planes of a planar frame of 16-bit words."""
    return [
        np.frombuffer(plane, "<u2").reshape(-1, plane.line_size // 2)[: plane.height, : plane.width]
        for plane in frame.planes
    ]


def read_planes(path: Path) -> list[list[np.ndarray]]:
    """Return the planes of all frames of a video, int."""
    with av.open(str(path)) as file:
        return [[plane.astype(int) for plane in planes_of(frame)] for frame in file.decode(video=0)]


def read_color(path: Path) -> Color:
    """Return the code points that the first frame of a video states."""
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        return Color(frame.color_primaries, frame.color_trc, frame.colorspace)


def noisy_planes(pixel_format: str, width: int, height: int, seed: int) -> list[np.ndarray]:
    """Return planes of 10 bits: a ramp with noise, near gray, which every color matrix maps into the range of RGB."""
    noise = np.random.default_rng(seed)
    frame = VideoFrame(width, height, pixel_format)
    planes = []
    for index, plane in enumerate(planes_of(frame)):
        rows, columns = plane.shape
        low, high = (200, 800) if index == 0 else (490, 534)
        ramp = np.linspace(low, high, columns)[None] + noise.normal(0, 3, (rows, columns))
        planes.append(np.clip(np.rint(ramp), 64, 940).astype(int))
    return planes


def write_planes(
    path: Path,
    frames: list[list[np.ndarray]],
    *,
    encoder: str,
    pixel_format: str,
    color: Color = SDR,
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames of planes as a video at 25 frames per second."""
    height, width = frames[0][0].shape
    with av.open(str(path), "w") as file:
        options = dict(options or {})
        if encoder == "libx265":  # with B-frames, x265 sets dts to any number in videos of one or two frames
            options["x265-params"] = f"{options['x265-params']}:bframes=0"
        stream = file.add_stream(encoder, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        targets = [stream.codec_context]
        for number, planes in enumerate(frames):
            frame = VideoFrame(width, height, pixel_format)
            frame.pts = number
            for target, source in zip(planes_of(frame), planes, strict=True):
                target[:] = source
            for tagged in (*targets, frame):
                tagged.color_primaries, tagged.color_trc = color.primaries, color.transfer
                tagged.colorspace, tagged.color_range = color.matrix, 1
            targets = []
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def rgb_to_planes(image: np.ndarray, matrix: int, pixel_format: str) -> list[np.ndarray]:
    """Return 10-bit limited-range planes of RGB values in 0..1, by the definition of the matrix; 4:4:4 or 4:2:2."""
    red, blue = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}[matrix]
    luma = image @ [red, 1 - red - blue, blue]
    chroma = (image[..., 2] - luma) / (2 * (1 - blue)), (image[..., 0] - luma) / (2 * (1 - red))
    step = 2 if "422" in pixel_format else 1
    planes = [64 + 876 * luma, *(512 + 896 * plane[:, ::step] for plane in chroma)]
    return [np.rint(plane).astype(int) for plane in planes]


def pq(light: np.ndarray) -> np.ndarray:
    """Return the PQ values of luminances in cd/m². Source: SMPTE ST 2084."""
    power = (np.clip(light, 0, 10_000) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
