"""Put the portrait and some moments of a result side by side: the picture in the project's README.

mimaface animate examples/portrait.jpg examples/driver.mp4 -o result.mp4
python examples/make_result.py result.mp4
"""

import argparse
from pathlib import Path

import av
from PIL import Image

HERE = Path(__file__).parent
MOMENTS = (0.40, 1.36, 2.24, 3.64, 4.40)  # seconds: wide open, turned, a blink, turned the other way, brows up
BOX = (96, 0, 356, 260)  # of the portrait's pixels
GAP = 4


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the portrait and some moments of a result side by side.")
    parser.add_argument("result", type=Path, help="what mimaface animate made of portrait.jpg and driver.mp4")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "result.jpg", help="picture to write")
    arguments = parser.parse_args()
    with Image.open(HERE / "portrait.jpg") as portrait:
        tiles = [portrait.crop(BOX)]
    wanted = list(MOMENTS)
    with av.open(str(arguments.result)) as video:
        for frame in video.decode(video=0):
            if wanted and frame.time >= wanted[0] - 1e-3:
                tiles.append(frame.to_image().crop(BOX))
                wanted.pop(0)
    if wanted:
        parser.exit(1, f"{arguments.result}: ends before {wanted[0]} s; make it from driver.mp4\n")
    width, height = tiles[0].size
    row = Image.new("RGB", (len(tiles) * (width + GAP) - GAP, height), "white")
    for k, tile in enumerate(tiles):
        row.paste(tile, (k * (width + GAP), 0))
    row.save(arguments.output, quality=88, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
