"""The model card of the lip network."""

from collections.abc import Sequence

import numpy as np

from mimaface_cli.builders.speech478.lip_build_options import LipBuildOptions
from mimaface_cli.builders.speech478.lip_evaluation import ClipFigures
from mimaface_cli.speech.lip_network import CHANNELS, GAP, LINEAR_SHARE, LipModel

_IN_SYNC = 0.041  # seconds


def write_card(options: LipBuildOptions, model: LipModel, figures: Sequence[ClipFigures], used: set[str]) -> str:
    """Return the card as Markdown.

    Args:
        options: Options of the build.
        model: The finished model.
        figures: Held-out figures of all clips.
        used: Names of the clips that the networks were trained on.
    """
    sections = [
        f"# speech478, the embedded lip network (version {model.version})",
        _describe_model(model),
        "## Data",
        options.about,
        _describe_data(options, figures, used),
        "## Results on held-out people",
        _describe_results(options, model, figures, used),
        _quantile_table(figures),
        _TERMS,
    ]
    return "\n\n".join(sections)


def _describe_model(model: LipModel) -> str:
    encoder, dimensions = model.front_end.encoder, model.front_end.encoder.basis.shape[1]
    millions = sum(array.size for array in encoder.arrays.values()) / 1e6
    parameters, linear = (sum(array.size for array in net.values()) for net in (model.nets[0], model.nets[-1]))
    return f"""The model maps audio to the mouth blendshapes of face478 at 25 frames per second:
{", ".join(CHANNELS[:GAP])}.
It also predicts the distance of the inner lips, whether they meet, and whether the audio is speech. It has three parts:

- **encoder**: the first {encoder.layers} layers of a speech recognizer ({millions:.1f} million parameters of
  Moonshine's English `tiny` model; no words), projected onto the {dimensions} directions in which the audio of the
  clips varies most;
- **lips**: the average of {len(model.nets) - 1} trainings of a temporal convolutional network with {parameters:,}
  parameters each, and of a linear regression with {linear:,} parameters (weight {LINEAR_SHARE}). Their input is the
  encoding and the spectrum, up to 0.6 s before and after a frame;
- **phones**: the likelihood of {len(model.front_end.phones.names)} English phones, 100 times per second, from the
  context-free states of CMU Sphinx's `en-us` acoustic model (Gaussian mixtures; no words, no grammar).

After the network, `mimaface_cli/speech/mouth_motion.py` adds the visible effect of clear phones: lips meet on p, b, m;
lower lip to the teeth on f, v; rounding, spreading. It closes the lips where the network hears no speech. The figures
below are those of the network alone."""


def _describe_data(options: LipBuildOptions, figures: Sequence[ClipFigures], used: set[str]) -> str:
    training = _select(figures, used)
    people = " --people FILE.csv" if options.people else ""
    return f"""There are {len(figures)} clips with audio and a moving mouth, {_duration(figures):.0f} s in all.
{len(training)} of them ({_duration(training):.0f} s) are training data. A clip is excluded if no network that was
trained without the person can predict the mouth from the audio (correlation of the lip gap below 0.15: music, dubbing,
other speakers). Audio and video of such files are often out of sync. The shift of each clip is estimated by networks
trained without its person and removed before training. Each recording is used as it is and in one to three altered
versions (noise or music in the background, telephone, synthetic voice, pitch and speed, room, coarse codec). A fifth of
the training shows the mouth at rest in generated audio without speech: noise, hum, tones, clicks, breath, music without
voices. The model contains no audio and no images.

Built with `python -m mimaface_cli.builders.speech478 FOLDER -o {options.output.name}{people} --folds {options.folds}
--rounds {options.rounds} --nets {options.nets} --steps {options.steps} --seed {options.seed}`."""


def _describe_results(options: LipBuildOptions, model: LipModel, figures: Sequence[ClipFigures], used: set[str]) -> str:
    return f"""Every clip is predicted by the average of {options.nets} trainings of the network and of the linear
regression, without its person ({options.folds}-fold cross-validation, split by person). The shipped model is trained
on all clips of the training data. The figures are Pearson correlations over time, averaged over clips:

|  | clips | loudness (gap, in step) | jaw | gap | jaw, in step | gap, in step |
| --- | --- | --- | --- | --- | --- | --- |
{_mean_rows(figures, used)}

- *jaw*: jawOpen.
- *gap*: distance of the inner lips.
- *loudness*: a baseline that opens the mouth with the loudness of the audio.
- *in step*: after the file's shift between audio and video is removed, as estimated by the networks trained without the
  person (at most 240 ms; large shifts need more evidence).
- *at most 40 ms off*: files whose shift is at most 40 ms."""


def _mean_rows(figures: Sequence[ClipFigures], used: set[str]) -> str:
    """Return rows for the training data, all clips, clips in sync and each language."""
    training = _select(figures, used)
    rows = [_mean_row("training", training), _mean_row("all", figures)]
    if in_sync := [clip for clip in training if abs(clip.shift) < _IN_SYNC]:
        rows.append(_mean_row("training, at most 40 ms off", in_sync))
    for language in sorted({clip.language for clip in training} - {""}):
        rows.append(_mean_row(f"training, {language}", [clip for clip in training if clip.language == language]))
    return "\n".join(rows)


def _select(figures: Sequence[ClipFigures], used: set[str]) -> list[ClipFigures]:
    return [clip for clip in figures if clip.name in used]


def _duration(figures: Sequence[ClipFigures]) -> float:
    return sum(clip.seconds for clip in figures)


def _mean_row(label: str, figures: Sequence[ClipFigures]) -> str:
    fields = ("floor", "jaw", "gap", "jaw_in_step", "gap_in_step")
    means = [f"{np.mean([getattr(clip, field) for clip in figures]):.2f}" for field in fields]
    return f"| {label} | {len(figures)} | " + " | ".join(means) + " |"


def _quantile_table(figures: Sequence[ClipFigures]) -> str:
    """Return how the figures are spread over all clips."""
    rows = ["| share of the clips below | shift, ms (absolute) | gap | gap, in step |", "| --- | --- | --- | --- |"]
    shifts = np.abs([clip.shift for clip in figures])
    gaps, gaps_in_step = [clip.gap for clip in figures], [clip.gap_in_step for clip in figures]
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        shift, gap, gap_in_step = (np.quantile(values, share) for values in (shifts, gaps, gaps_in_step))
        rows.append(f"| {share:.0%} | {1000 * shift:.0f} | {gap:.2f} | {gap_in_step:.2f} |")
    return "\n".join(rows)


_TERMS = """## Terms

Apache-2.0, except for two parts.

The encoder (`encoder/*` in the file) is part of Moonshine's English `tiny` model:

> MIT License
>
> Copyright (c) 2025 Moonshine AI
>
> Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
> documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
> rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
> persons to whom the Software is furnished to do so, subject to the following conditions:
>
> The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
> Software.
>
> THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
> WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
> COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
> OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

The phones' mixtures (`phone_*` in the file) are part of CMU Sphinx's `en-us` model:

> Copyright (c) 2015 Alpha Cephei Inc. All rights reserved.
>
> Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
> following conditions are met: 1. Redistributions of source code must retain the above copyright notice, this list of
> conditions and the following disclaimer. 2. Redistributions in binary form must reproduce the above copyright notice,
> this list of conditions and the following disclaimer in the documentation and/or other materials provided with the
> distribution.
>
> THIS SOFTWARE IS PROVIDED BY ALPHA CEPHEI INC. "AS IS" AND ANY EXPRESSED OR IMPLIED WARRANTIES, INCLUDING, BUT NOT
> LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT
> SHALL ALPHA CEPHEI INC. NOR ITS EMPLOYEES BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR
> CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA,
> OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT
> LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF
> ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""
