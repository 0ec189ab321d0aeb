"""The sound encoder against an independent implementation of the network its arrays come from."""

import numpy as np
import pytest
import torch

from mimaface_cli.speech.audio_features import STRIDE, SpeechEncoder


@pytest.mark.parametrize("layers", [1, 3])
def test_the_encoder_is_moonshines(layers):
    """Random weights, the same in `transformers`' encoder and in ours; ours is told the level that theirs measures."""
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
    sound = np.random.default_rng(0).standard_normal(40 * STRIDE).astype(np.float32) * 0.1
    with torch.inference_mode():
        inner = torch.tanh(network.conv1(torch.from_numpy(sound)[None, None]))
        wanted = network(torch.from_numpy(sound)[None]).last_hidden_state[0].numpy()
    level = np.array([float(inner.mean()), float(inner.var(unbiased=False))])
    encoder = SpeechEncoder(arrays, level, np.zeros(96, np.float32), np.eye(96, dtype=np.float32))
    found = encoder.hidden(sound)
    assert found.dtype == np.float32
    # Theirs ends in a norm that ours leaves out.
    found = (found - found.mean(1, keepdims=True)) / np.sqrt(found.var(1, keepdims=True) + 1e-5)
    found = found * network.layer_norm.weight.detach().numpy()
    assert encoder.layers == layers and found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-3 * np.abs(wanted).max()
