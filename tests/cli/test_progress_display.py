"""Progress: times that are right from the second unit on, and a terminal that is not flooded."""

import io
import sys

import pytest

from mimaface_cli.cli import progress_display
from mimaface_cli.cli.progress_display import DENOISING, FIRST_CLIP, StageClock, format_duration, show_progress


class Terminal(io.StringIO):
    """A terminal that counts what is written to it."""

    def isatty(self) -> bool:
        return True


def test_time_left_is_right_from_the_second_step_on():
    clock = StageClock()
    clock.update(0.0, 0, 50)
    assert clock.seconds_left(0.0) is None
    clock.update(60.0, 1, 50)  # loading and compilation
    assert clock.seconds_left(60.0) is None
    clock.update(62.0, 2, 50)
    assert (clock.seconds_per_unit(), clock.seconds_left(62.0)) == (2.0, 96.0)
    assert clock.seconds_left(63.0) == 95.0  # it goes on between the reports


def test_clips_of_an_earlier_run_do_not_count_as_speed():
    clock = StageClock()
    clock.update(0.0, 30, 50)
    clock.update(9.0, 31, 50)
    clock.update(12.0, 32, 50)
    assert clock.seconds_left(12.0) == 54.0


def test_repeated_clip_starts_the_clock_again():
    clock = StageClock()
    for now, done in [(0.0, 0), (1.0, 1), (2.0, 2), (10.0, 0), (11.0, 1), (14.0, 2)]:
        clock.update(now, done, 10)
    assert clock.seconds_left(14.0) == 24.0


@pytest.mark.parametrize(("seconds", "text"), [(41.6, "42 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_are_read_at_a_glance(seconds, text):
    assert format_duration(seconds) == text


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    times = [0.0]
    monkeypatch.setattr(progress_display.time, "monotonic", lambda: times[0])
    return times


def test_progress_shows_seconds_per_step_and_frame_and_the_time_left(clock, monkeypatch, capsys):
    with show_progress() as show:
        for step in range(4):
            clock[0] = 10.0 * step
            show(DENOISING, step, 10)
            if step == 2:
                show("animating", 1, 5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "denoising: 0 of 10 steps"
    assert lines[-1] == "denoising: 3 of 10 steps, 10.0 s a step, 20.0 s a frame, about 1 min 10 s left"


def test_time_until_the_first_frames_is_shown_until_the_first_clip_is_done(clock, capsys):
    with show_progress() as show:
        for step in range(9):
            clock[0] = 10.0 * step
            if step <= 4:
                show(FIRST_CLIP, step, 4)
            show(DENOISING, step, 12)
    lines = capsys.readouterr().err.splitlines()
    assert lines[2] == "denoising: 2 of 12 steps, 10.0 s a step, first frames in about 20 s, about 1 min 40 s left"
    assert len(lines) == 9 and not any("first" in line for line in lines[4:])


def test_lines_show_units_per_second_and_the_time_left(clock, capsys):
    with show_progress() as show:
        for frame in range(1, 202):
            clock[0] = 0.1 * frame
            show("animating", frame, 400)
    assert capsys.readouterr().err.splitlines()[0] == "animating: 101 of 400 frames, 10.0 per second, about 30 s left"


def test_an_hour_of_steps_writes_little_to_a_terminal(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_display, "TICKS_PER_SECOND", 0.01)
    with show_progress() as show:
        show("loading the diffusion networks", 0, None)
        for frame in range(3000):  # ten minutes at five reports a second: a refresh for each
            clock[0] = 0.05 * frame
            show("animating", frame, 3000)
    text = terminal.getvalue()
    assert text.count("animating") <= 3000 * 0.05 / 0.25 + 3
    assert "loading" in text and "loading" not in text[len(text) // 2 :]


def test_stage_that_was_only_announced_disappears_with_the_next_one(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with show_progress(unit="bytes") as show:
        show("checking a", 0, None)
        show("b", 1, 10)
    assert "checking a" not in terminal.getvalue().split("\x1b[2K")[-2]
