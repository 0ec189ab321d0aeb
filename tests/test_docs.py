"""The documents: their commands run, their Python blocks run, their links lead somewhere."""

import csv
import json
import os
import re
import runpy
import shlex
import wave
from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import mimaface_cli
from mimaface_cli.cli.command_types import Command
from mimaface_cli.engines.mesh.eyelid_crop import EYELID
from tests.conftest import ROOT, Sample
from tests.engines.mesh.mouth_models import write_model

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
LINKING_PAGES = [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "weights").glob("*.md"))]
README_BYTES = 8192
TEMPLATES = ("nod", "shake", "smile", "look_around", "talk", "driver")
TRACKS = ("talk", "speech", "nod", "take", *(f"examples/{name}" for name in TEMPLATES))

# Commands that need downloads, a cluster, a certificate, a training set, votes or a shell: only options are checked.
NOT_RUN = (
    "weights pull",
    "weights import",
    "train ",
    "--space bfm09",
    "--engine diffusion",
    "--ray",
    "--certificate",
    "--pose-style",
    "evaluate votes",
    "$",
)
# Commands that start worker processes, or render, extract and measure more than one short video.
SLOW = ("batch ", "evaluate ", "--engine mesh", "--key", "--compare", "--grid", "docs/gallery.md")


@dataclass(frozen=True)
class DocumentedCommand:
    """A command line of a document.

    Attributes:
        page: Path of the document below the project's folder.
        line: Number of the line, from 1.
        text: The line.
    """

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments of mimaface, without the shell's redirections and comments."""
        text = re.sub(r"^.*?(?<![\w-])(?:mimaface|-m mimaface_cli) ", "", self.text)
        words = shlex.split(text, comments=True)
        words = words[: next((k for k, word in enumerate(words) if word in (">", "2>", ";", "|")), len(words))]
        return [word.rstrip(";") for word in words]

    @property
    def is_run(self) -> bool:
        """Whether the command runs on the shared files."""
        return not any(part in self.text for part in NOT_RUN)

    @property
    def is_slow(self) -> bool:
        """Whether the command runs with the slow tests only."""
        return any(part in f"{self.page} {self.text}" for part in SLOW)

    @property
    def output(self) -> Path | None:
        """The path after -o."""
        return Path(self.words[self.words.index("-o") + 1]) if "-o" in self.words else None


def code_lines(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the indented lines and those in fences without a language, numbered from 1; joined over backslashes."""
    is_fenced, is_code, start, text = False, False, 0, ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            is_fenced, is_code = not is_fenced, line.strip() in ("```", "```sh", "```bash")
            continue
        if not ((is_fenced and is_code) or (not is_fenced and line.startswith("    "))):
            continue
        start, text = start or number, text + line.strip()
        if text.endswith("\\"):
            text = text[:-1]
            continue
        yield start, text
        start, text = 0, ""


def documented_commands() -> list[DocumentedCommand]:
    """Return all command lines of mimaface in the documents, each once."""
    commands: dict[str, DocumentedCommand] = {}
    for page in PAGES:
        for number, text in code_lines(page):
            if re.search(r"(?:^|&& |do )mimaface |-m mimaface_cli ", text):
                commands.setdefault(text, DocumentedCommand(str(page.relative_to(ROOT)), number, text))
    return list(commands.values())


def python_blocks() -> list[tuple[str, int, str]]:
    """Return page, line and code of all Python blocks."""
    blocks = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            blocks.append((str(page.relative_to(ROOT)), text[: match.start()].count("\n") + 2, match[1]))
    return blocks


def command_parameters(is_run: bool) -> list:
    marks = {True: [pytest.mark.slow], False: []}
    return [
        pytest.param(command, id=f"{command.page}:{command.line}", marks=marks[is_run and command.is_slow])
        for command in documented_commands()
        if command.is_run == is_run
    ]


@pytest.fixture(scope="session")
def shared_files(sample: Sample, tmp_path_factory) -> Path:
    """A folder with short files under the names that the documents use; read-only."""
    from mimaface_cli.motion.formats import export_track
    from mimaface_cli.motion.track import MotionTrack

    folder = tmp_path_factory.mktemp("documents")
    (folder / "examples").mkdir()
    links = {
        sample.portrait: ("photo.jpg", "examples/portrait.jpg", "photos/me.jpg"),
        sample.driver: ("talk.mp4", "other.mp4", "actor.mp4", "shot.mov", "out.mp4", "step.mkv", "examples/driver.mp4"),
        sample.audio: ("speech.wav", "speech.mp3", "left.wav", "right.wav", "mix.wav"),
        sample.track: tuple(f"{name}.npz" for name in TRACKS),
    }
    for target, names in links.items():
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            os.symlink(target, folder / name)
    for person in ("id10001", "id10002"):
        (folder / "voxceleb" / person).mkdir(parents=True)
        os.symlink(sample.driver, folder / "voxceleb" / person / "clip.mp4")
    export_track(MotionTrack.load(sample.track), folder / "MySlate_1_iPhone.csv", "livelink")
    write_rows(folder / "same.csv", ("source", "driver"), ("photo.jpg", "talk.npz"))
    with wave.open(str(folder / "silence.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))  # a second
    write_model(folder / "anna.npz")
    write_model(folder / "eyelids.npz", part=EYELID)
    (folder / "jobs.csv").write_text(first_block(ROOT / "docs" / "batch.md", "csv"), "utf-8")
    (folder / "speakers.csv").write_text(first_block(ROOT / "docs" / "dubbing.md", "csv"), "utf-8")
    write_rows(folder / "keys.csv", ("time", "yaw", "jawOpen"), ("0.1", "5", ""), ("0.2", "", "0.3"))
    return folder


def first_block(page: Path, language: str) -> str:
    """Return the first fenced block of a language on a page."""
    return page.read_text("utf-8").partition(f"```{language}\n")[2].partition("```")[0]


def write_rows(path: Path, *rows: tuple[str, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def workplace(shared_files, sample, tmp_path, monkeypatch) -> Path:
    """A new folder with links to the shared files, as the current folder."""
    for path in shared_files.iterdir():
        os.symlink(path.resolve() if path.is_symlink() else path, tmp_path / path.name)
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("MIMAFACE_CACHE_DIR", str(sample.cache))
    monkeypatch.setenv("MIMAFACE_CONFIG", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: list[str]) -> int:
    from mimaface_cli.cli.app import run

    return run(words)


@pytest.mark.parametrize("command", command_parameters(is_run=True))
def test_documented_command_runs(command, workplace, sample, capfd):
    output = command.output
    if output is not None and output.is_symlink():
        output.unlink()
    if "evaluate compare" in command.text:
        for name in ("results", "other"):
            Path(name).mkdir(exist_ok=True)
            os.symlink(sample.driver, Path(name) / "0000_photo__talk.mp4")
    code = run(command.words)
    assert code == 0, f"{command.text}\n{capfd.readouterr().err}"
    if output is not None and output.suffix and "%" not in output.name:
        assert output.is_file() and not output.is_symlink()


@pytest.mark.parametrize("command", command_parameters(is_run=False))
def test_documented_command_has_valid_options(command, monkeypatch, capfd):
    contexts = []
    monkeypatch.setattr(Command, "invoke", lambda self, context: contexts.append(context))
    monkeypatch.setenv("MIMAFACE_CONFIG", "")
    code = run(command.words)
    assert code == 0 and contexts, f"{command.text}\n{capfd.readouterr().err}"


@pytest.mark.slow
def test_first_command_of_the_readme_runs_on_the_shipped_files(run_mimaface, tmp_path):
    line = next(text for _, text in code_lines(ROOT / "README.md") if "mimaface animate" in text)
    words = line.partition("mimaface ")[2].split()
    done = run_mimaface(*words[:-1], tmp_path / words[-1], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mp4").is_file()


def test_readme_keeps_its_two_commands():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    example = "mimaface animate examples/portrait.jpg examples/driver.mp4 -o out.mp4"
    assert f'    pip install ".[embedded]" && {example}' in lines
    assert '    pip install ".[embedded,test]" && python -m pytest' in lines


def test_readme_is_at_most_8_kb():
    assert (ROOT / "README.md").stat().st_size <= README_BYTES


@pytest.fixture
def restore_registries(monkeypatch) -> None:
    """Undo the registrations of a block."""
    from mimaface_cli.drivers import registry as drivers
    from mimaface_cli.engines import registry as engines
    from mimaface_cli.evaluation.catalog import CATALOG

    monkeypatch.setattr(engines, "_engines", dict(engines._engines))
    monkeypatch.setattr(drivers, "_kinds", list(drivers._kinds))
    monkeypatch.setattr(CATALOG, "_metrics", dict(CATALOG._metrics))


@pytest.mark.parametrize(
    ("page", "line", "code"),
    [pytest.param(*block, id=f"{block[0]}:{block[1]}") for block in python_blocks()],
)
def test_python_block_runs(page, line, code, workplace, restore_registries):
    for name in ("out.mp4", "speech.npz"):
        (workplace / name).unlink()
    script = workplace / "block.py"
    script.write_text("\n" * (line - 1) + code, "utf-8")
    runpy.run_path(str(script))


def test_changelog_keeps_its_form():
    lines = (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines()
    versions = [line for line in lines if line.startswith("## ")]
    assert versions[0] == "## [Unreleased]"
    assert all(re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", line) for line in versions[1:])
    kinds = {line for line in lines if line.startswith("### ")}
    assert kinds <= {f"### {kind}" for kind in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")}
    assert not [line for line in lines if line.startswith(("  ", "|"))]  # one line an entry, no tables


def heading_anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {heading_anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", LINKING_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(path), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_programs_and_options_in_documents_exist(page):
    text = page.read_text("utf-8")
    for module in re.findall(r"python -m ((?:tests|mimaface_cli)[\w.]*)", text):
        assert find_spec(module.replace(".NAME", "")) is not None, module
    for script in re.findall(r"(?:python )?\b((?:examples|docs)/[\w/]+\.(?:py|sh))", text):
        assert (ROOT / script).is_file(), script
    for name in re.findall(r"`mimaface ([a-z][a-z ]*)`", text):
        words = tuple(name.split())
        assert words[:2] in all_commands() or not hasattr(all_commands()[words[:1]], "commands"), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_in_documents_exist(page):
    modules = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/**/*.py")]
    for name in re.findall(r"`([\w/]+\.py)`", page.read_text("utf-8")):
        assert any(module.endswith(f"/{name}") or module == name for module in modules), name


def all_commands() -> dict[tuple[str, ...], Any]:
    """Return the program and all its commands by the words that name them."""
    from typer.main import get_command

    from mimaface_cli.cli.app import app

    commands, waiting = {}, {(): get_command(app)}
    while waiting:
        words, command = waiting.popitem()
        commands[words] = command
        waiting |= {(*words, name): child for name, child in getattr(command, "commands", {}).items()}
    return commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_flags_in_inline_code_exist(page):
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    spans = [span for span in re.findall(r"`([^`\n]+)`", text) if not span.startswith(("python", "pip", "git"))]
    flags = {flag for span in spans for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span)}
    options = [option for command in all_commands().values() for option in command.params]
    known = {flag for option in options for flag in (*option.opts, *option.secondary_opts)}
    assert flags <= known | {"--help", "--help-all"}


def test_configuration_file_of_the_docs_is_valid(tmp_path):
    from typer.main import get_command

    from mimaface_cli.cli.app import app
    from mimaface_cli.cli.config_file import load_config

    (tmp_path / "config.toml").write_text(first_block(ROOT / "docs" / "scripting.md", "toml"), "utf-8")
    defaults = load_config(get_command(app), {"MIMAFACE_CONFIG": str(tmp_path / "config.toml")})
    assert defaults["animate"]["crf"] == "20"


JSON_COMMANDS = {
    "animate": "animate photo.jpg talk.npz -o a.mp4 --json",
    "edit": "edit talk.npz -o a.npz --scale jawOpen=0.5 --json",
    "extract": "extract talk.npz --json",
    "audio": "audio speech.wav -o a.npz --json",
    "track show": "track show talk.npz --json",
    "track import": "track import MySlate_1_iPhone.csv -o a.npz --json",
    "weights list": "weights list --json",
    "cache list": "cache list --json",
    "inspect": "inspect out.mp4 --json",
    "doctor": "doctor --json",
}


@pytest.mark.parametrize("name", JSON_COMMANDS)
def test_json_keys_are_documented(name, workplace, capfd):
    text = (ROOT / "docs" / "scripting.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1])
    cell = re.sub(r"\(.*?\)", "", row.split("|")[2]).partition(";")[0]  # without the keys of lists
    assert run(JSON_COMMANDS[name].split()) == 0
    assert re.findall(r"`(\w+)`", cell) == list(json.loads(capfd.readouterr().out))


def test_every_metric_is_documented():
    from mimaface_cli.evaluation.catalog import CATALOG

    text = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    assert [info.name for info in CATALOG.infos if f"`{info.name}`" not in text] == []


def test_every_public_name_is_documented():
    text = (ROOT / "docs" / "python-api.md").read_text("utf-8")
    assert [name for name in mimaface_cli.__all__ if f"`{name}" not in text] == []


def test_every_array_and_metadata_key_of_a_track_is_documented():
    from mimaface_cli.motion.track_layout import ARRAY_NAMES
    from mimaface_cli.motion.track_meta import TrackMeta

    text = (ROOT / "docs" / "track-format.md").read_text("utf-8")
    names = [*ARRAY_NAMES, "meta", "version", *(field.name for field in fields(TrackMeta))]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_setting_of_the_environment_is_documented():
    text = (ROOT / "docs" / "scripting.md").read_text("utf-8")
    source = "".join(path.read_text("utf-8") for path in (ROOT / "mimaface_cli").rglob("*.py"))
    names = set(re.findall(r'"(MIMAFACE_[A-Z0-9_]+|HF_[A-Z]+)"', source))
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_images_of_the_documents_are_small():
    sizes = [path.stat().st_size for path in (ROOT / "docs" / "images").glob("*.jpg")]
    assert sizes and sum(sizes) <= 1_500_000
