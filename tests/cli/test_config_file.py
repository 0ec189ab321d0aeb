"""Precedence of command line, environment and configuration file; completion; the log file."""

import json

import pytest


def test_command_line_overrides_environment_overrides_file(run_command, sample, tmp_path, monkeypatch):
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
    ("config", "text"),
    [
        ("[animate]\nregoin = 'lips'\n", "[animate] regoin: unknown option. Did you mean region?"),
        ("[anmate]\n", "anmate: unknown option. Did you mean animate?"),
        ("[animate]\noverwrite = 'x'\n", "overwrite: is a switch. Write true or false"),
        ("[animate]\ncrf = [1]\n", "crf: has the wrong type. Write text"),
        ("[animate", "is not a TOML file"),
    ],
)
def test_bad_config_file_prints_one_error_line(run_command, tmp_path, monkeypatch, config, text):
    (tmp_path / "config.toml").write_text(config)
    monkeypatch.setenv("MIMAFACE_CONFIG", str(tmp_path / "config.toml"))
    result = run_command("cache", "where")
    assert result.code == 3 and text in result.err and len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MIMAFACE_ANIMATE_STRENGHT", "Did you mean MIMAFACE_ANIMATE_STRENGTH?"),
        ("MIMAFACE_CACHEDIR", "Did you mean MIMAFACE_CACHE_DIR?"),
        ("MIMAFACE_QQQQQQ", "Options are named MIMAFACE_<COMMAND>_<OPTION>."),
    ],
)
def test_unknown_variable_prints_warning(run_command, monkeypatch, name, hint):
    monkeypatch.setenv(name, "1")
    result = run_command("cache", "where")
    assert (
        result.code == 0
        and result.err == f"warning: {name}: no option has this name; the variable is ignored. {hint}\n"
    )


def test_known_variables_print_no_warning(run_command, sample, monkeypatch):
    variables = {"ANIMATE_CRF": "20", "ANIMATE_NO_CACHE": "1", "ANIMATE_PROVENANCE": "0", "EDIT_MAX_SIZE": "200"}
    variables |= {"CACHE_LIST_AS_JSON": "0", "C2PA_CERTIFICATE": "a.pem", "MIRROR": "", "PROGRESS": "auto"}
    for name, value in variables.items():
        monkeypatch.setenv(f"MIMAFACE_{name}", value)
    result = run_command("cache", "where")
    assert result.code == 0 and result.err == ""


def test_log_file_is_accepted_after_command(run_command, tmp_path):
    assert run_command("animate", "no.jpg", "no.mp4", "-o", "x.mp4", "--log-file", "run.log").code == 3
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert "no.jpg" in lines[0] and lines[-1].split(" ", 1)[1].startswith("failed with exit code 3: no.jpg")


def test_completion_offers_commands(run_mimaface):
    request = {"_MIMAFACE_COMPLETE": "complete_bash", "COMP_WORDS": "mimaface ba", "COMP_CWORD": "1"}
    assert run_mimaface(env=request).stdout.split() == ["batch"]
