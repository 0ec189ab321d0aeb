"""Denoising clip by clip: noise, ICA conditioning, schedule, guidance, steps (mimaface_cli.engines.diffusion)."""

import re
from collections.abc import Iterator

import numpy as np
import torch

from mimaface_cli.engines.diffusion import ica
from mimaface_cli.engines.diffusion.denoise import ClipConditions, denoise
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.samplers import EulerSampler, build_euler_schedule
from mimaface_cli.engines.diffusion.unet import VideoUNet
from tests.goldens.fill import fill
from tests.goldens.fixture import Check, Fixture, absolute, relative_to_max


def check(fixture: Fixture) -> Iterator[Check]:
    spec, arrays, config = fixture.spec, fixture.arrays, fixture.spec["config"]
    tolerance, relative = spec["tolerance"], spec["tolerance"]["relative_to_max"]
    unet = VideoUNet(config["unet"]).eval()
    if isinstance(spec["state_dict"], list):
        yield fixture.fill(unet)
    else:
        fill(unet, spec["seed_string"])

    schedule = build_euler_schedule(config["num_inference_steps"], config["scheduler_json"])
    for name in arrays:
        if match := re.fullmatch(r"(timesteps|sigmas)(?:_(\d+))?", name):
            steps = build_euler_schedule(int(match[2]), config["scheduler_json"]) if match[2] else schedule
            allowed = (tolerance["timesteps"], 0) if match[1] == "timesteps" else (0, tolerance["sigmas_relative"])
            yield absolute(name, np.array(getattr(steps, match[1])), arrays[name], *allowed)
    yield absolute("init_noise_sigma", max(schedule.sigmas), spec["init_noise_sigma"], 0, tolerance["sigmas_relative"])

    settings = DenoiseSettings(steps=config["num_inference_steps"], guidance=config["guidance_scale"])
    length, overlap, previous = config["video_length"], config["prev_frame_num"], None
    start = ica.sample_noise(length, *config["latent"])
    yield absolute("initial_noise", start, arrays["initial_noise"], 0)
    clips = sorted(int(match[1]) for name in arrays if (match := re.fullmatch(r"clip(\d+)_render_latents", name)))
    for index in clips:
        name = f"clip{index}_"
        render, tokens = fixture.tensor(name + "render_latents"), fixture.tensor(name + "prompt_embeds")
        carried = previous[:, :, -overlap:] if previous is not None and overlap else None
        conditioning = ica.build_ica_channels(carried, length, render)
        if (key := name + "unet_input_first_step") in arrays:
            sampler = EulerSampler(schedule)
            sample = torch.cat([sampler.scaled(sampler.begin(start), 0), render, conditioning], 1)
            yield relative_to_max(key, sample.expand(2, -1, -1, -1, -1), arrays[key], relative["final_later_clips"])
        conditions = ClipConditions(render, conditioning, tokens)
        steps = list(denoise(unet, EulerSampler(schedule), start, conditions, settings))
        if (key := name + "latents_after_each_step") in arrays:
            for step, (computed, expected) in enumerate(zip(steps, arrays[key], strict=True)):
                yield relative_to_max(f"{key} {step}", computed[0], expected, relative["per_step"])
        previous = steps[-1]
        allowed = relative["final_later_clips" if index else "final_clip0"]
        key = name + "final_latents"
        yield relative_to_max(key, previous[0].transpose(0, 1), arrays[key], allowed)
