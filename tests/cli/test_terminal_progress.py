"""The progress of the diffusion engine on a real terminal: what it shows, and how much it writes."""

import os
import re
import subprocess
import sys
import time

import pytest

pty = pytest.importorskip("pty")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX systems")]

# Every step takes a while, as on a GPU; a clip has 20 of them.
PROGRAM = """
import sys, time
from mimaface_cli.engines.diffusion import denoise
predict = denoise.predict_with_guidance
def slow(*arguments, **options):
    time.sleep(0.08)
    return predict(*arguments, **options)
denoise.predict_with_guidance = slow
from mimaface_cli.cli.process import main
main()
"""


def run_on_terminal(words: list[str], environment: dict[str, str]) -> tuple[str, float]:
    """Run the command with its error stream on a terminal; return what it writes, and the seconds of the denoising."""
    terminal, end = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *words], env=environment, stderr=end)
    os.close(end)
    content, first, last = b"", 0.0, 0.0
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the process has ended
            break
        if not part:
            break
        content += part
        if b"denoising" in content:
            last = time.monotonic()
            first = first or last
    os.close(terminal)
    assert process.wait(30) == 0, content.decode()
    return content.decode(), last - first


def test_terminal_shows_times_and_is_refreshed_a_few_times_a_second(environment, sample, tiny_weights, tmp_path):
    words = ["animate", str(sample.portrait), str(sample.driver), "-o", str(tmp_path / "out.mp4"), "--device", "cpu"]
    words += ["--engine", "diffusion", "--output-mode", "crop"]
    words += ["--steps", "20", "--clip-length", "6", "--overlap", "2"]
    variables = {"MIMAFACE_WEIGHTS_DIR": str(tiny_weights), "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "160"}
    environment = {name: value for name, value in environment.items() if name != "NO_COLOR"} | variables
    text, seconds = run_on_terminal(words, environment)
    shown = [line for line in re.split(r"[\r\n]|\x1b\[[0-9;?]*[A-Za-z]", text) if "a step" in line]
    assert seconds > 4 and shown
    refreshes = text.count("denoising")
    assert refreshes <= 10 * seconds + 10, (refreshes, seconds)
    assert len(text) < 4000 * seconds
    assert re.search(r"\d\.\d s a step, first frames in about \d+ s", "".join(shown))
    assert re.search(r"\d\.\d s a step, \d\.\d s a frame, about \d+ s left", "".join(shown))
