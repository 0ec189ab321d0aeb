"""HDR as phones record it: 10 bits, BT.2020, HLG, and chroma at half size."""

from fractions import Fraction

import av
import numpy as np
import pytest

from mimaface_cli.media.reader import read_frames


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p10le"])
def test_subsampled_hdr_looks_like_full_chroma(tmp_path, pixel_format):
    shown = {}
    for name in (pixel_format, "yuv444p10le"):
        path = tmp_path / f"{name}.mkv"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 32, name
            context = stream.codec_context
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = 9, 1, 9, 18
            frame = av.VideoFrame(64, 32, name)
            for plane, code in zip(frame.planes, (500, 440, 600), strict=True):  # a skin tone
                plane.update(np.full((plane.height, plane.line_size // 2), code, np.uint16))
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        shown[name] = next(read_frames(path)).image.astype(int)
    assert np.ptp(shown[pixel_format], axis=(0, 1)).max() <= 1  # one color all over
    assert np.abs(shown[pixel_format] - shown["yuv444p10le"]).max() <= 2
