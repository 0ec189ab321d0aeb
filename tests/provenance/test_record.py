"""Records: the values that identify a result, and the path of its record."""

import json
from pathlib import Path

import pytest

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.record import COMPOSITE, SOURCE_TYPES, Generation, Record, build_record, record_path


def animate_record(inputs, options=AnimateOptions(), is_fully_generated=False) -> Record:  # frozen
    return build_record(Generation("animate", "mesh", inputs, ["face478"], options, is_fully_generated))


def test_two_records_of_the_same_content_are_equal(inputs):
    record = animate_record(inputs)
    assert record == animate_record(inputs) and record.identifier == animate_record(inputs).identifier
    assert 0 <= record.identifier < 1 << 48 and record.name == f"{record.identifier:012x}"


def test_identifier_changes_with_options_and_inputs(inputs):
    record = animate_record(inputs)
    assert animate_record(inputs, AnimateOptions(smooth=2.0)).identifier != record.identifier
    inputs["source"].write_bytes(b"another photo")
    assert animate_record(inputs).identifier != record.identifier


def test_record_contains_neither_certificates_nor_folders(inputs):
    options = AnimateOptions(provenance=ProvenanceOptions(True, Path("secret.pem"), Path("key.pem")))
    record = animate_record(inputs, options)
    assert record.identifier == animate_record(inputs).identifier
    assert "pem" not in json.dumps(record.content)
    assert str(inputs["source"].parent) not in json.dumps(record.content)


def test_record_keeps_only_the_names_of_audio_and_background_files(inputs):
    options = AnimateOptions(audio="/home/me/music/song.mp3", background="/home/me/photos/beach.jpg")
    recorded = animate_record(inputs, options).content["options"]
    assert (recorded["audio"], recorded["background"]) == ("song.mp3", "beach.jpg")
    recorded = animate_record(inputs, AnimateOptions(audio="none", background="hsl(120, 50%, 50%)")).content["options"]
    assert (recorded["audio"], recorded["background"]) == ("none", "hsl(120, 50%, 50%)")


def test_record_names_the_weights_with_their_hashes(inputs):
    (weights,) = animate_record(inputs).content["weights"]
    assert weights["name"] == "face478.npz" and len(weights["sha256"]) == 64


def test_record_distinguishes_generated_and_composite_media(inputs):
    assert animate_record(inputs).source_type == SOURCE_TYPES + COMPOSITE
    fully_generated = animate_record(inputs, is_fully_generated=True)
    assert fully_generated.source_type.endswith("/trainedAlgorithmicMedia")


@pytest.mark.parametrize(
    ("output", "result"),
    [("a/b.mp4", "a/b.mp4"), ("a/100%.mp4", "a/100%.mp4"), ("a/%05d.png", "a"), ("a/100%.mov", "a/100%.mov")],
)
def test_record_path_is_beside_the_result(output, result):
    assert record_path(Path(output)) == Path(f"{result}.provenance.json")
