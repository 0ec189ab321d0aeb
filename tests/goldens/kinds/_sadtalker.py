"""SadTalker's networks with the sizes of a fixture's configuration and list of shapes."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from zlib import crc32

from torch import nn

from mimaface_cli.speech.audio2exp import Audio2Exp
from mimaface_cli.speech.audio2pose import Audio2Pose, PoseConfig
from mimaface_cli.speech.mel import MelConfig
from tests.goldens.fill import fill
from tests.goldens.fixture import Check, Fixture, same_keys

Shapes = dict[str, list[int]]


def shapes_of(fixture: Fixture) -> Shapes:
    return {row["key"]: row["shape"] for row in fixture.spec["state_dict"]}


def mel_config(config: dict) -> MelConfig:
    known = {name: config[name] for name in MelConfig.__dataclass_fields__ if name in config}
    return MelConfig(**{**known, "preemphasis": config["preemphasis"] if config.get("preemphasize", True) else 0})


def expression_network(shapes: Shapes) -> Audio2Exp:
    return Audio2Exp(shapes["mapping1.weight"][0], _widths(shapes, "audio_encoder."))


def pose_network(shapes: Shapes, config: dict | None = None) -> Audio2Pose:
    """Build the head-pose network from the fixture's config, or from the shapes alone."""
    decoder = {key.removeprefix("netG.decoder."): shape for key, shape in shapes.items() if "netG.decoder." in key}
    styles, latent = decoder["classbias"]
    audio, pose = decoder["linear_audio.weight"][0], decoder["pose_linear.weight"][0]
    layers = [shape[0] for key, shape in decoder.items() if key.startswith("MLP.L") and key.endswith(".weight")]
    frames = (decoder["MLP.L0.weight"][1] - pose - latent) // audio
    if config is not None:
        styles, frames, audio = config["NUM_CLASSES"], config["SEQ_LEN"], config["AUDIO_EMB_OUT_SIZE"]
        latent, layers = config["LATENT_SIZE"], config["DECODER_LAYER_SIZES"]
    units = ("residual_conv_1.conv_block.0", "residual_conv_1", "residual_conv_2", "bridge")
    named = (f"resunet.{unit}{'.weight' if 'block' in unit else '.conv_block.5.weight'}" for unit in units)
    return Audio2Pose(
        PoseConfig(
            styles=styles,
            frames=frames,
            audio=audio,
            latent=latent,
            layers=tuple(layers),
            filters=tuple(decoder[name][0] for name in named),
            widths=_widths(shapes, "audio_encoder.audio_encoder."),
        )
    )


def filled(fixture: Fixture, network: nn.Module) -> Iterator[Check]:
    """Set the network to the fixture's weights; check keys and shapes, and the bytes of every entry.

    The network may lack parts that the fixture lists as unused in inference.
    """
    unused = fixture.spec.get("unused_in_inference", [])
    rows = [row for row in fixture.spec["state_dict"] if not any(fnmatchcase(row["key"], part) for part in unused)]
    yield same_keys(network, ([row["key"], row["shape"], row["kind"]] for row in rows))
    fill(network.eval(), fixture.spec["seed_string"])
    state = network.state_dict()
    sums = {row["key"]: row["crc32"] for row in rows}
    differing = [key for key, value in state.items() if crc32(value.numpy().tobytes()) != sums.get(key)]
    yield Check("weights crc32", len(differing), 0)


def _widths(shapes: Shapes, prefix: str) -> tuple[int, ...]:
    return tuple(shapes[f"{prefix}{block}.conv_block.0.weight"][0] for block in (0, 3, 6, 9, 11))
