"""A second Ctrl-C: it waits for a cleanup that is quick, and ends one that takes long."""

import os
import signal

import pytest

from mimaface_cli.cli import interrupt


@pytest.fixture
def handlers(monkeypatch):
    """The handlers that are installed, by signal."""
    installed = {}
    monkeypatch.setattr(signal, "signal", installed.__setitem__)
    monkeypatch.setattr(interrupt.Interrupted, "pending", None)
    return installed


@pytest.mark.parametrize(("seconds", "codes"), [(0.5, []), (3.0, [130])])
def test_second_interruption_ends_the_process_only_after_a_while(handlers, monkeypatch, seconds, codes):
    now, exits = [100.0], []
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(os, "_exit", exits.append)
    with pytest.raises(interrupt.Interrupted):
        interrupt._interrupt(signal.SIGINT, None)
    now[0] += seconds
    handlers[signal.SIGINT](signal.SIGINT, None)
    assert exits == codes
