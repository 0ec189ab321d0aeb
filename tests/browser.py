"""A headless browser for tests of pages."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--hide-scrollbars", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
_TIMEOUT = 180  # seconds; a busy machine needs a while to start a browser


def find_browser() -> str | None:
    """Return the path of Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


needs_browser = pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome is installed")


def run_in_page(page: Path, script: str, folder: Path, width: int = 1200, dark: bool = False) -> dict:
    """Open a page in a real browser, run a script in it, and return the object that the script reports.

    Args:
        page: The HTML file; it stays unchanged.
        script: JavaScript that calls `report(object)` once.
        folder: Folder for the copy of the page and the browser's profile.
        width: Width of the page in CSS pixels; a frame shows the page, because windows are never as narrow as phones.
        dark: Whether the browser prefers dark colors.
    """
    copy = page.with_name(f"{page.stem}_tested.html")
    probe = (
        "<script>function report(value){parent.document.body.setAttribute('data-report',JSON.stringify(value))}"
        "window.addEventListener('error',event=>report({error:event.message}));"
        f"window.addEventListener('load',()=>{{{script}}});</script>"
    )
    copy.write_text(page.read_text("utf-8").replace("</head>", f"{probe}</head>", 1), encoding="utf-8")
    frame = page.with_name(f"{page.stem}_frame.html")
    frame.write_text(f'<body><iframe src="{copy.name}" style="width:{width}px;height:900px"></iframe></body>', "utf-8")
    flags = [*FLAGS, "--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}"]
    if dark:
        flags += ["--blink-settings=preferredColorScheme=0"]
    command = [str(find_browser()), *flags, "--virtual-time-budget=8000", "--dump-dom", frame.as_uri()]
    completed = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=_TIMEOUT, check=False)
    match = re.search(r'data-report="([^"]*)"', completed.stdout)
    assert match, f"the page reported nothing: {completed.stdout[-500:]} {completed.stderr[-500:]}"
    return json.loads(unescape(match[1]))
