"""The parts of the lip model that other packages provide: Moonshine's encoder and CMU Sphinx's phones."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from mimaface_cli.builders.speech478.moonshine import DIMENSIONS, fit_projection, load_encoder
from mimaface_cli.builders.speech478.sphinx import load_phones
from mimaface_cli.errors import WeightsError
from mimaface_cli.speech.audio_features import FeatureExtractor
from mimaface_cli.speech.lip_model_file import load_lip_model
from mimaface_cli.speech.phones import count_feature_frames
from tests.speech.synthetic_speech import as_waveform, synthesize_speech


def test_packaged_phones_are_the_shipped_ones():
    pytest.importorskip("pocketsphinx", reason="needs pocketsphinx, which contains the acoustic model")
    phones, shipped = load_phones(), load_lip_model().front_end.phones
    assert phones.names == shipped.names
    assert phones.means.shape == (3, 42, 128, 13)
    assert np.allclose(phones.weights.sum(2), 1, atol=1e-4)
    assert np.abs(phones.means - shipped.means).max() < 0.02 * np.abs(phones.means).max()


def test_packaged_encoder_is_the_shipped_one():
    if find_spec("moonshine_voice") is None:
        pytest.skip("needs moonshine-voice, which contains the encoder")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime, which reads the encoder's file")
    encoder, shipped = load_encoder(), load_lip_model().front_end.encoder
    speech = synthesize_speech(("ah", 0.3), ("m", 0.2), ("ee", 0.3))
    actual, expected = shipped.compute_hidden_states(speech), encoder.compute_hidden_states(speech)
    assert encoder.arrays.keys() == shipped.arrays.keys()
    assert np.abs(actual - expected).mean() < 0.01 * np.abs(expected).mean()


def test_unreadable_parts_are_weights_errors(tmp_path):
    with pytest.raises(WeightsError, match="acoustic model cannot be read"):
        load_phones(tmp_path)
    with pytest.raises(WeightsError, match="encoder cannot be read"):
        load_encoder(tmp_path / "missing.ort")


def test_projection_keeps_the_directions_that_vary_most():
    front_end = load_lip_model().front_end
    encoder = front_end.encoder
    identity = np.eye(len(encoder.mean), dtype=np.float32)
    unprojected = replace(encoder, mean=np.zeros_like(encoder.mean), basis=identity)
    recordings = [
        as_waveform(
            synthesize_speech(("ah", 0.4), (phone, 0.3), ("eh", 0.2), ("", 0.2), ("ee", 0.3), pitch=90 + 30 * k)
        )
        for k, phone in enumerate("mms")
    ]
    fitted = fit_projection(unprojected, front_end.phones, recordings)
    frames = np.concatenate(
        [
            FeatureExtractor(recording, fitted).encode(0, count_feature_frames(len(recording)))
            for recording in recordings
        ]
    )
    assert frames.shape[1] == DIMENSIONS
    assert np.abs(frames.mean(0)).max() < 0.01
    assert np.allclose(np.cov(frames.T), 0.49 * np.eye(DIMENSIONS), atol=0.01)
