"""Import and export by suffix, content and options, and damaged files."""

import random

import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.motion.formats import FORMATS, export_track, import_track
from tests.motion.tracks import NTSC, random_track


def test_export_needs_a_known_suffix_or_format(tmp_path):
    with pytest.raises(OutputError, match="set `format` to csv, json or livelink"):
        export_track(random_track(), tmp_path / "a.fbx")


def test_export_replaces_a_file_only_with_overwrite(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(OutputError, match="overwrite"):
        export_track(random_track(), tmp_path / "a.csv")
    export_track(random_track(), tmp_path / "a.csv", overwrite=True)
    assert (tmp_path / "a.csv").stat().st_size > 0


def test_import_of_json_refuses_a_frame_rate(tmp_path):
    export_track(random_track(), tmp_path / "a.json")
    with pytest.raises(InputError, match="a JSON track contains its frame rate"):
        import_track(tmp_path / "a.json", frame_rate=NTSC)


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_file_gives_a_track_or_a_one_line_error(tmp_path, format):
    rng = random.Random(5)
    export_track(random_track(frames=3), tmp_path / "valid", format)
    content = (tmp_path / "valid").read_bytes()
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "damaged").write_bytes(bytes(damaged))
        try:
            import_track(tmp_path / "damaged")
        except InputError as error:
            assert "\n" not in str(error).replace("\\n", "")
