"""Clips that programs learn from."""

from mimaface_cli.builders.clip_tracks import read_people


def test_names_of_files_with_dots_keep_them_with_and_without_a_suffix(tmp_path):
    table = tmp_path / "people.csv"
    table.write_text("file,person\nclips/good.luck.mp4,anna\ngood.morning,berta\nhi.MOV,carla\n")
    assert read_people(table) == {"good.luck": "anna", "good.morning": "berta", "hi": "carla"}
    assert read_people(None) == {}
