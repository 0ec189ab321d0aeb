"""Make the images of docs/gallery.md from the commands on that page.

    python docs/images/make_images.py

It runs in a temporary folder, with examples/ as its only input, and replaces the JPEG files beside this script.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GAP = 4  # pixels between the images of a strip


def gallery_commands() -> list[str]:
    """Return the mimaface commands of docs/gallery.md, in their order."""
    lines = (HERE.parent / "gallery.md").read_text("utf-8").splitlines()
    return [line.strip() for line in lines if line.startswith("    mimaface ")]


def read_frames(video: Path, count: int) -> list[Image.Image]:
    """Return frames of a video at equal distances, without its start and its end."""
    with av.open(str(video)) as file:
        frames = [frame.to_image() for frame in file.decode(video=0)]
    return [frames[len(frames) * k // (count + 1)] for k in range(1, count + 1)]


def save_strip(images: list[Image.Image], path: Path, height: int = 240) -> None:
    """Save images side by side, scaled to one height."""
    images = [image.convert("RGB") for image in images]
    images = [
        image.resize((round(image.width * height / image.height), height), Image.Resampling.LANCZOS) for image in images
    ]
    strip = Image.new("RGB", (sum(image.width + GAP for image in images) - GAP, height), "white")
    x = 0
    for image in images:
        strip.paste(image, (x, 0))
        x += image.width + GAP
    strip.save(path, quality=88)


def save_image(path: Path, target: Path) -> None:
    """Save an image as JPEG on a white background."""
    image = Image.open(path).convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    Image.alpha_composite(background, image).convert("RGB").save(target, quality=88)


def main() -> None:
    """Run the commands and save the images."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "examples").symlink_to(ROOT / "examples")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        for command in gallery_commands():
            words = command.split()[1:]
            subprocess.run([sys.executable, "-m", "mimaface_cli", *words], cwd=folder, env=environment, check=True)
        save_strip(read_frames(folder / "smile.mp4", 5), HERE / "smile.jpg")
        save_strip(read_frames(folder / "look.mp4", 5), HERE / "look_around.jpg")
        edits = ("turned", "surprise", "glance", "serious", "open")
        save_strip([Image.open(folder / f"{edit}.png") for edit in edits], HERE / "edits.jpg")
        save_strip(read_frames(folder / "compare.mp4", 3)[1:2], HERE / "compare.jpg", height=400)
        save_image(folder / "grid.png", HERE / "grid.jpg")
        save_image(folder / "curves.png", HERE / "curves.jpg")


if __name__ == "__main__":
    main()
