"""Make the screenshot of docs/evaluation.md: the report of a result, on a desktop and on a phone in dark mode.

    python docs/images/make_report_image.py

It needs Chromium. Its only inputs are the portrait and the driver in examples/. It replaces report.jpg beside this
script.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DESKTOP, PHONE, HEIGHT = 1100, 500, 1400  # pixels of the shots; both start at the section of the result
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--mute-audio", "--timeout=6000",
)  # fmt: skip
# Shows the section of the result alone, and rests the pointer on a curve.
STAGE = """<script>addEventListener("load",()=>{
const main=document.querySelector("main"),section=document.querySelector("section.result");
main.replaceChildren(section);
const svg=document.querySelectorAll("svg.curve")[3],box=svg.getBoundingClientRect();
const point=()=>svg.dispatchEvent(new PointerEvent("pointermove",{clientX:box.left+.55*box.width,clientY:box.top+50}));
const video=document.querySelector("video");video.controls=false;
video.readyState>1?point():video.addEventListener("loadeddata",point)});</script></head>"""


def main() -> None:
    """Render, evaluate and photograph."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        portrait, driver = ROOT / "examples" / "portrait.jpg", ROOT / "examples" / "driver.mp4"
        run(folder, "animate", portrait, driver, "-o", "out.mp4")
        run(folder, "evaluate", "out.mp4", "--source", portrait, "--driver", driver, "--report", "report.html")
        page = folder / "staged.html"
        page.write_text((folder / "report.html").read_text("utf-8").replace("</head>", STAGE, 1), encoding="utf-8")
        shots = [take(page, folder, DESKTOP, False), take(page, folder, PHONE, True)]
        image = Image.new("RGB", (DESKTOP + PHONE, HEIGHT), "white")
        image.paste(shots[0], (0, 0))
        image.paste(shots[1], (DESKTOP, 0))
        image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS).save(
            HERE / "report.jpg", quality=85
        )


def run(folder: Path, *words: object) -> None:
    """Run a command of mimaface."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mimaface_cli", *map(str, words)]
    subprocess.run(command, cwd=folder, env=environment, check=True)


def take(page: Path, folder: Path, width: int, is_dark: bool) -> Image.Image:
    """Return a screenshot of a page."""
    shot = folder / f"{width}.png"
    flags = [*FLAGS, f"--user-data-dir={folder / f'profile{width}'}", f"--window-size={width},{HEIGHT}"]
    if is_dark:
        flags.append("--blink-settings=preferredColorScheme=0")
    subprocess.run(["chromium", *flags, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True)
    return Image.open(shot).convert("RGB")


if __name__ == "__main__":
    main()
