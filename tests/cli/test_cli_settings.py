"""Where settings come from: command line, environment, file, default, in that order; completion; log file."""

import json

import pytest


def test_the_order_of_precedence(run_command, sample, tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text("[cache.list]\njson = true\n")
    monkeypatch.setenv("MIMAFACE_CONFIG", str(config))
    assert json.loads(run_command("cache", "list").out)
    config.write_text('[animate]\nregion = "lips"\ncodec = "nothing-from-file"\n')
    words = ("animate", sample.portrait, sample.track, "-o", "out.mp4")
    assert "nothing-from-file" in run_command(*words).err
    monkeypatch.setenv("MIMAFACE_ANIMATE_CODEC", "nothing-from-environment")
    assert "nothing-from-environment" in run_command(*words).err
    assert "nothing-from-words" in run_command(*words, "--codec", "nothing-from-words").err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[animate]\nregoin = 'lips'\n", "[animate] regoin: no such setting; did you mean region?"),
        ("[anmate]\n", "anmate: no such setting; did you mean animate?"),
        ("[animate]\noverwrite = 'x'\n", "is on or off"),
        ("[animate]\ncrf = [1]\n", "must be a text"),
        ("[animate", "is no TOML file"),
    ],
)
def test_bad_settings_get_one_line(run_command, tmp_path, monkeypatch, text, said):
    (tmp_path / "config.toml").write_text(text)
    monkeypatch.setenv("MIMAFACE_CONFIG", str(tmp_path / "config.toml"))
    told = run_command("cache", "where")
    assert told.code == 3 and said in told.err and len(told.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MIMAFACE_ANIMATE_STRENGHT", "did you mean MIMAFACE_ANIMATE_STRENGTH?"),
        ("MIMAFACE_CACHEDIR", "did you mean MIMAFACE_CACHE_DIR?"),
        ("MIMAFACE_QQQQQQ", "settings are named MIMAFACE_<COMMAND>_<OPTION>"),
    ],
)
def test_a_variable_that_nothing_reads_is_said(run_command, monkeypatch, name, hint):
    monkeypatch.setenv(name, "1")
    told = run_command("cache", "where")
    assert told.code == 0 and told.err == f"warning: {name}: no setting has that name, so it does nothing; {hint}\n"


def test_all_variables_that_something_reads_are_known(run_command, sample, monkeypatch):
    named = {"ANIMATE_CRF": "20", "ANIMATE_NO_CACHE": "1", "ANIMATE_PROVENANCE": "0", "EDIT_MAX_SIZE": "200"}
    named |= {"CACHE_LIST_AS_JSON": "0", "C2PA_CERTIFICATE": "a.pem", "MIRROR": "", "PROGRESS": "auto"}
    for name, value in named.items():
        monkeypatch.setenv(f"MIMAFACE_{name}", value)
    told = run_command("cache", "where")
    assert told.code == 0 and told.err == ""


def test_log_file_anywhere(run_command, tmp_path):
    assert run_command("animate", "no.jpg", "no.mp4", "-o", "x.mp4", "--log-file", "run.log").code == 3
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert "no.jpg" in lines[0] and lines[-1].split(" ", 1)[1].startswith("failed with exit code 3: no.jpg")


def test_completion(run_mimaface):
    asked = {"_MIMAFACE_COMPLETE": "complete_bash", "COMP_WORDS": "mimaface ba", "COMP_CWORD": "1"}
    assert run_mimaface(env=asked).stdout.split() == ["batch"]
