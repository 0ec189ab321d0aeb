"""Audio features: speech encoder, phone probabilities, and independence of the range."""

import numpy as np
import pytest
import torch

from mimaface_cli.speech.audio_features import STRIDE, FeatureExtractor, SpeechEncoder
from mimaface_cli.speech.lip_model_file import load_lip_model
from mimaface_cli.speech.phones import count_feature_frames
from tests.speech.synthetic_speech import as_waveform, synthesize_speech

SENTENCE = [("", 0.4), ("ah", 0.3), ("m", 0.2), ("ee", 0.3), ("s", 0.2), ("oo", 0.3), ("eh", 0.3), ("", 0.4)]


@pytest.mark.parametrize("layers", [1, 3])
def test_speech_encoder_matches_the_moonshine_encoder_of_transformers(layers):
    """Both have the same random weights. Our encoder gets the output level that the reference measures."""
    from transformers import MoonshineConfig
    from transformers.models.moonshine.modeling_moonshine import MoonshineEncoder

    torch.manual_seed(0)
    config = MoonshineConfig(
        hidden_size=96, intermediate_size=160, encoder_num_hidden_layers=layers, encoder_num_attention_heads=8,
        encoder_num_key_value_heads=8, partial_rotary_factor=0.9, attn_implementation="eager",
    )  # fmt: skip
    network = MoonshineEncoder(config).eval()
    for name, parameter in network.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm.weight" in name else 0.0, std=0.15)
    arrays = {name: value.numpy() for name, value in network.state_dict().items() if not name.startswith("layer_norm")}
    samples = np.random.default_rng(0).standard_normal(40 * STRIDE).astype(np.float32) * 0.1
    with torch.inference_mode():
        first_output = torch.tanh(network.conv1(torch.from_numpy(samples)[None, None]))
        expected = network(torch.from_numpy(samples)[None]).last_hidden_state[0].numpy()
    level = np.array([float(first_output.mean()), float(first_output.var(unbiased=False))])
    encoder = SpeechEncoder(arrays, level, np.zeros(96, np.float32), np.eye(96, dtype=np.float32))
    hidden = encoder.compute_hidden_states(samples)
    assert hidden.dtype == np.float32
    # The reference ends with a layer normalization, which our encoder omits.
    hidden = (hidden - hidden.mean(1, keepdims=True)) / np.sqrt(hidden.var(1, keepdims=True) + 1e-5)
    hidden = hidden * network.layer_norm.weight.detach().numpy()
    assert encoder.layers == layers and hidden.shape == expected.shape
    assert np.abs(hidden - expected).max() < 1e-3 * np.abs(expected).max()


def test_features_do_not_depend_on_the_requested_range():
    waveform, model = as_waveform(synthesize_speech(*SENTENCE)), load_lip_model()
    total = count_feature_frames(len(waveform))
    all_features, all_phones = FeatureExtractor(waveform, model.front_end).extract(-10, total + 10)
    assert all_features.shape == (total + 20, model.front_end.width)
    extractor = FeatureExtractor(waveform, model.front_end)
    for start, stop in ((91, 143), (5, 60), (130, 131), (-10, 1)):
        features, phones = extractor.extract(start, stop)
        assert np.abs(all_features[10 + start : 10 + stop] - features).max() < 1e-4
        assert np.abs(all_phones[10 + start : 10 + stop] - phones).max() < 1e-4
    assert np.allclose(all_phones.sum(1), 1, atol=1e-3)


def test_phone_probabilities_are_high_for_the_spoken_vowels():
    front_end = load_lip_model().front_end
    parts = [("", 0.3), ("oo", 0.4), ("ee", 0.4), ("m", 0.4), ("ah", 0.4)]
    waveform = as_waveform(synthesize_speech(*parts, pitch=110))
    _, phones = FeatureExtractor(waveform, front_end).extract(0, count_feature_frames(len(waveform)))

    def mean_probability(names: tuple[str, ...], start: int) -> float:
        columns = [front_end.phones.names.index(name) for name in names]
        return phones[start + 10 : start + 30, columns].sum(1).mean()

    assert mean_probability(("IY", "IH", "EY", "Y"), 70) > 0.25
    assert mean_probability(("AA", "AH", "AW", "AY", "AO", "AE"), 150) > 0.3
