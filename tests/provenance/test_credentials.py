"""Content credentials by the real library."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.provenance import credentials, record
from tests.provenance.certificates import NAME, make

pytest.importorskip("c2pa", reason="content credentials need the extra c2pa")


@pytest.fixture(scope="module")
def pems(tmp_path_factory) -> tuple[Path, Path]:
    return make(tmp_path_factory.mktemp("certificates"))


def picture(path: Path, seed: int = 0) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(path)
    return path


def made(*inputs: Path) -> tuple[record.Record, dict[str, Path]]:
    given = {f"part {k}": path for k, path in enumerate(inputs)}
    return record.build("edit", "mesh", given, [], {"a": 1}, whole=False), given


def test_signed_read_and_broken(pems, tmp_path):
    certificate = credentials.load_certificate(*pems)
    assert NAME in certificate.name and "PRIVATE" not in repr(certificate)
    first = picture(tmp_path / "first.jpg")
    told, _ = made()
    credentials.sign(first, certificate, told, {})
    seen = credentials.read(first)
    assert seen["state"] == "valid" and seen["signer"] == NAME and seen["generator"] == "mimaface"
    assert seen["record"]["identifier"] == told.name and seen["faults"] == []

    # Somebody changes a pixel.
    data = bytearray(first.read_bytes())
    data[-1000] ^= 0x55
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(data)
    assert credentials.read(broken)["state"] == "invalid"
    assert "assertion.dataHash.mismatch" in credentials.read(broken)["faults"]

    # Both come along with what is made of them, each as what it is.
    result, plain = picture(tmp_path / "result.png", 1), picture(tmp_path / "plain.png", 2)
    told, given = made(first, broken, plain)
    found, notes = credentials.input_notes(given, signing=True)
    assert found["part 0"]["state"] == "valid" and found["part 1"]["state"] == "invalid" and len(found) == 2
    assert len(notes) == 1 and "broken.jpg" in notes[0] and "broken" in notes[0] and "kept" in notes[0]
    credentials.sign(result, certificate, told, given)
    ingredients = {entry["title"]: entry for entry in credentials.read(result)["ingredients"]}
    assert ingredients["first.jpg"] == {"title": "first.jpg", "credentials": True, "faults": []}
    assert ingredients["broken.jpg"]["credentials"] and ingredients["broken.jpg"]["faults"]
    assert not ingredients["plain.png"]["credentials"]
    assert {path.name for path in tmp_path.iterdir()} == {"first.jpg", "broken.jpg", "result.png", "plain.png"}


@pytest.mark.parametrize("kind", ["es256", "es384", "es512", "ps256", "ed25519"])
def test_keys_of_every_kind(tmp_path, kind):
    certificate = credentials.load_certificate(*make(tmp_path, kind))
    assert certificate.algorithm == kind and "TEST" in certificate.name
    signed = picture(tmp_path / "signed.png")
    credentials.sign(signed, certificate, made()[0], {})
    assert credentials.read(signed)["state"] == "valid" and credentials.read(signed)["signer"] == NAME


def test_a_certificate_that_ended_is_refused_before_the_work(tmp_path):
    with pytest.raises(InputError, match="cannot sign content credentials") as error:
        credentials.load_certificate(*make(tmp_path, until=2025))
    assert "\n" not in str(error.value) and "TEST-certificate.pem" in str(error.value)


def test_the_certificate_is_read_once(pems, tmp_path, monkeypatch):
    from mimaface_cli.provenance.provenance_options import ProvenanceOptions
    from mimaface_cli.provenance.stamp import check, stamp

    loads = []
    real = credentials.load_certificate
    monkeypatch.setattr(credentials, "load_certificate", lambda *given: loads.append(given) or real(*given))
    options = ProvenanceOptions(True, *pems)
    check(tmp_path / "a.png", options, False)
    stamped = stamp(
        tmp_path / "a.png", (160, 160), options, [], command="edit", engine="mesh", inputs={}, weights=[], asked={},
        whole=False,
    )  # fmt: skip
    assert stamped.certificate is not None and len(loads) == 1


def test_without_a_signature_the_user_is_told(pems, tmp_path):
    signed = picture(tmp_path / "signed.jpg")
    credentials.sign(signed, credentials.load_certificate(*pems), made()[0], {})
    _, notes = credentials.input_notes({"source": signed}, signing=False)
    assert len(notes) == 1 and NAME in notes[0] and "--certificate" in notes[0]
    assert credentials.read(picture(tmp_path / "none.jpg")) is None
    assert credentials.read(tmp_path) is None


def test_bad_certificates_get_one_line(pems, tmp_path):
    chain, key = pems
    (tmp_path / "junk.pem").write_text("junk")
    other, _ = make(tmp_path)
    for given, said in (
        ((tmp_path / "none.pem", key), "cannot be read"),
        ((chain, tmp_path / "none.pem"), "cannot be read"),
        ((tmp_path / "junk.pem", key), "no PEM certificate"),
        ((chain, tmp_path / "junk.pem"), "no PEM key"),
        ((other, key), "is not the key"),
        ((tmp_path, key), "cannot be read"),
    ):
        with pytest.raises(InputError, match=said) as error:
            credentials.load_certificate(*given)
        assert "\n" not in str(error.value)


def test_what_cannot_be_signed_stays_as_it_was(pems, tmp_path):
    file = tmp_path / "no.png"
    file.write_bytes(b"no picture")
    with pytest.raises(OutputError, match="cannot be signed"):
        credentials.sign(file, credentials.load_certificate(*pems), made()[0], {})
    assert file.read_bytes() == b"no picture" and list(tmp_path.iterdir()) == [file]
