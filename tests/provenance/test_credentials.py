"""Content credentials, written and read by c2pa-python."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.provenance import credentials
from mimaface_cli.provenance.credentials import load_certificate, read_credentials, read_input_credentials, sign
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.record import Generation, Record, build_record
from mimaface_cli.provenance.stamp import check_stamp, prepare_stamp
from tests.provenance.certificates import NAME, make_certificate

pytest.importorskip("c2pa", reason="content credentials need the extra c2pa")


@pytest.fixture(scope="module")
def pem_files(tmp_path_factory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificates"))


def write_image(path: Path, seed: int = 0) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(path)
    return path


def describe_generation(*inputs: Path) -> Generation:
    roles = {f"part {k}": path for k, path in enumerate(inputs)}
    return Generation("edit", "mesh", roles, [], {"a": 1}, False)


def make_record(*inputs: Path) -> Record:
    return build_record(describe_generation(*inputs))


def write_broken_copy(path: Path, target: Path) -> Path:
    """Copy a signed file and change one byte of its image."""
    data = bytearray(path.read_bytes())
    data[-1000] ^= 0x55
    target.write_bytes(data)
    return target


def test_read_credentials_returns_the_signed_values(pem_files, tmp_path):
    certificate, record = load_certificate(*pem_files), make_record()
    assert NAME in certificate.name and "PRIVATE" not in repr(certificate)
    signed = write_image(tmp_path / "signed.jpg")
    sign(signed, certificate, record, {})
    summary = read_credentials(signed)
    assert summary["state"] == "valid" and summary["signer"] == NAME and summary["generator"] == "mimaface"
    assert summary["record"]["identifier"] == record.name and summary["faults"] == []


def test_read_credentials_reports_a_changed_file(pem_files, tmp_path):
    signed = write_image(tmp_path / "signed.jpg")
    sign(signed, load_certificate(*pem_files), make_record(), {})
    summary = read_credentials(write_broken_copy(signed, tmp_path / "broken.jpg"))
    assert summary["state"] == "invalid" and "assertion.dataHash.mismatch" in summary["faults"]


def test_a_signed_result_keeps_the_credentials_of_its_inputs(pem_files, tmp_path):
    certificate = load_certificate(*pem_files)
    valid = write_image(tmp_path / "valid.jpg")
    sign(valid, certificate, make_record(), {})
    broken = write_broken_copy(valid, tmp_path / "broken.jpg")
    result, unsigned = write_image(tmp_path / "result.png", 1), write_image(tmp_path / "unsigned.png", 2)
    inputs = describe_generation(valid, broken, unsigned).inputs

    summaries, notes = read_input_credentials(inputs, is_signing=True)
    assert [summary["state"] for summary in summaries.values()] == ["valid", "invalid"]
    assert set(summaries) == {"part 0", "part 1"}
    assert len(notes) == 1 and "broken.jpg: its content credentials are broken" in notes[0] and "kept" in notes[0]

    sign(result, certificate, make_record(valid, broken, unsigned), inputs)
    ingredients = {entry["title"]: entry for entry in read_credentials(result)["ingredients"]}
    assert ingredients["valid.jpg"] == {"title": "valid.jpg", "credentials": True, "faults": []}
    assert ingredients["broken.jpg"]["credentials"] and ingredients["broken.jpg"]["faults"]
    assert not ingredients["unsigned.png"]["credentials"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"valid.jpg", "broken.jpg", "result.png", "unsigned.png"}


@pytest.mark.parametrize("kind", ["es256", "es384", "es512", "ps256", "ed25519"])
def test_keys_of_every_kind_sign(tmp_path, kind):
    certificate = load_certificate(*make_certificate(tmp_path, kind))
    assert certificate.algorithm == kind and "TEST" in certificate.name
    signed = write_image(tmp_path / "signed.png")
    sign(signed, certificate, make_record(), {})
    assert read_credentials(signed)["state"] == "valid" and read_credentials(signed)["signer"] == NAME


def test_load_certificate_refuses_an_expired_certificate(tmp_path):
    with pytest.raises(InputError, match="cannot sign content credentials") as error:
        load_certificate(*make_certificate(tmp_path, expiry_year=2025))
    assert "\n" not in str(error.value) and "TEST-certificate.pem" in str(error.value)


def test_the_certificate_is_read_once_per_run(pem_files, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(credentials, "load_certificate", lambda *paths: calls.append(paths) or load_certificate(*paths))
    options = ProvenanceOptions(True, *pem_files)
    check_stamp(tmp_path / "a.png", options, False)
    stamp = prepare_stamp(tmp_path / "a.png", (160, 160), options, describe_generation(), [])
    assert stamp.certificate is not None and len(calls) == 1


def test_an_unsigned_result_notes_that_it_loses_the_credentials_of_its_input(pem_files, tmp_path):
    signed = write_image(tmp_path / "signed.jpg")
    sign(signed, load_certificate(*pem_files), make_record(), {})
    _, notes = read_input_credentials({"source": signed}, is_signing=False)
    assert len(notes) == 1 and NAME in notes[0] and "`certificate`" in notes[0]


def test_read_credentials_returns_none_for_unsigned_files_and_folders(tmp_path):
    assert read_credentials(write_image(tmp_path / "none.jpg")) is None
    assert read_credentials(tmp_path) is None


def test_load_certificate_names_the_option_of_a_bad_file(pem_files, tmp_path):
    chain, key = pem_files
    junk, missing = tmp_path / "junk.pem", tmp_path / "none.pem"
    junk.write_text("junk")
    other_chain, _ = make_certificate(tmp_path)
    for paths, field, message in (
        ((missing, key), "certificate", "cannot be read"),
        ((chain, missing), "private_key", "cannot be read"),
        ((junk, key), "certificate", "no PEM certificate"),
        ((chain, junk), "private_key", "no PEM key"),
        ((other_chain, key), "private_key", "is not the key"),
        ((tmp_path, key), "certificate", "cannot be read"),
    ):
        with pytest.raises(InputError, match=message) as error:
            load_certificate(*paths)
        assert error.value.field == field and "\n" not in str(error.value)


def test_a_file_that_cannot_be_signed_stays_unchanged(pem_files, tmp_path):
    file = tmp_path / "no.png"
    file.write_bytes(b"no image")
    with pytest.raises(OutputError, match="cannot be signed"):
        sign(file, load_certificate(*pem_files), make_record(), {})
    assert file.read_bytes() == b"no image" and list(tmp_path.iterdir()) == [file]
