"""Comparison of source, driver and result."""

import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.apps.side_by_side import join_panels, plan_panels
from mimaface_cli.media.reader import probe
from tests.conftest import NTSC, read_video


@pytest.mark.parametrize("skipped", [0, 3])
def test_panels_share_a_height(sample, tmp_path, skipped):
    """A tall source, a square driver and a wide result keep their proportions; a track has no panel."""
    Pillow.new("RGB", (100, 300), (200, 0, 0)).save(tmp_path / "tall.png")
    tall = probe(tmp_path / "tall.png")
    layout = plan_panels((400, 200), tall, probe(sample.driver))
    assert layout.widths == [67, 200, 400] and layout.size == (667, 200)
    assert plan_panels((3840, 2160), tall, None).size == (360 + 1920, 1080)

    pts = np.array([0.0, 0.1, 0.25])
    result = iter([np.full((200, 400, 3), 7 * k, np.uint8) for k in range(3)])
    joined = list(join_panels((frame for frame in result), layout, pts, [0.0, float(skipped / NTSC)]))
    assert [frame.shape for frame in joined] == [(200, 667, 3)] * 3
    driver = read_video(sample.driver)[0]
    for k, frame in enumerate(joined):
        assert (frame[:, :67] == (200, 0, 0)).all() and (frame[:, 267:] == 7 * k).all()
        index = skipped + int(pts[k] * NTSC)  # the frame that is visible at that time
        small = np.asarray(Pillow.fromarray(driver[index]).resize((200, 200), Pillow.Resampling.BOX))
        assert np.abs(frame[:, 67:267].astype(float) - small).mean() < 4
