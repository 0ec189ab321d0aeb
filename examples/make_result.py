"""Make result.jpg, the image in the project's README: the portrait beside five frames of a result.

mimaface animate examples/portrait.jpg examples/driver.mp4 -o result.mp4
python examples/make_result.py result.mp4
"""

import argparse
from pathlib import Path

import av
from PIL import Image

FOLDER = Path(__file__).parent
FRAME_TIMES = (0.40, 1.36, 2.24, 3.64, 4.40)  # seconds: mouth open, head turned, blink, turned back, brows raised
CROP_BOX = (96, 0, 356, 260)  # left, top, right, bottom in pixels of the portrait
GAP = 4  # pixels between two tiles


def crop_frames(video_path: Path) -> list[Image.Image]:
    """Return the cropped frames at FRAME_TIMES; fewer if the video is shorter."""
    tiles: list[Image.Image] = []
    with av.open(str(video_path)) as video:
        for frame in video.decode(video=0):
            if len(tiles) < len(FRAME_TIMES) and frame.time >= FRAME_TIMES[len(tiles)] - 1e-3:
                tiles.append(frame.to_image().crop(CROP_BOX))
    return tiles


def join_tiles(tiles: list[Image.Image]) -> Image.Image:
    """Place tiles of one size in a row on white."""
    width, height = tiles[0].size
    row = Image.new("RGB", (len(tiles) * (width + GAP) - GAP, height), "white")
    for k, tile in enumerate(tiles):
        row.paste(tile, (k * (width + GAP), 0))
    return row


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Make an image of the portrait beside five frames of a result.")
    parser.add_argument("result", type=Path, help="output of mimaface animate for portrait.jpg and driver.mp4")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER / "result.jpg", help="image to write")
    arguments = parser.parse_args()
    with Image.open(FOLDER / "portrait.jpg") as image:
        portrait = image.crop(CROP_BOX)
    frames = crop_frames(arguments.result)
    if len(frames) < len(FRAME_TIMES):
        missing = FRAME_TIMES[len(frames)]
        parser.exit(1, f"{arguments.result}: the video has no frame at {missing} s. Render it from driver.mp4.\n")
    join_tiles([portrait, *frames]).save(arguments.output, quality=88, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
