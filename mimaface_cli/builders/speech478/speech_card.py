"""The model card of the lip network."""

import argparse
from collections.abc import Sequence

import numpy as np

from mimaface_cli.builders.speech478.lip_evaluation import Judged
from mimaface_cli.speech.lip_network import CHANNELS, LipModel


def card(options: argparse.Namespace, model: LipModel, judged: Sequence[Judged], used: set[str]) -> str:
    """Markdown: what the model is, from what it was trained, what it is worth on people left out."""
    taken = [one for one in judged if one.name in used]
    mean = lambda field, of: np.mean([getattr(one, field) for one in of])  # noqa: E731
    count = sum(array.size for array in model.nets[0].values())
    people = " --people FILE.csv" if options.people else ""
    encoder = model.front_end.encoder
    size = sum(array.size for array in encoder.arrays.values())
    rows = "\n".join(
        f"| {k} | {one.seconds:.1f} | {1000 * one.shift:+.0f} | {one.floor:.2f} | {one.jaw:.2f} | {one.gap:.2f} | "
        f"{one.jaw_in_step:.2f} | {one.gap_in_step:.2f} | {'yes' if one.name in used else 'no'} |"
        for k, one in enumerate(sorted(judged, key=lambda one: -one.gap_in_step), 1)
    )
    return f"""# speech478, the embedded lip network (version {model.version})

Sound in, the mouth's blendshapes of face478 out, 25 times a second: {", ".join(CHANNELS[:-2])}, and whether the lips
meet. Three parts:

- **encoder**: what the first {encoder.layers} layers of a speech recognizer make of the sound ({size / 1e6:.1f} million numbers of
  Moonshine's English `tiny` model; no words), projected onto the {encoder.basis.shape[1]} directions in which the clips' sound varies most;
- **lips**: {len(model.nets)} trainings of a temporal convolutional network of {count:,} numbers each, averaged, on that
  encoding and the spectrum, 0.6 s to either side;
- **phones**: how likely each of {len(model.front_end.phones.names)} English phones sounds, a hundred times a second, by the context-free states
  of CMU Sphinx's `en-us` acoustic model (Gaussian mixtures; no words, no grammar).

`mimaface_cli/speech/mouth_motion.py` then lets clear phones add what is seen of them (lips meet on p, b, m; lower lip to the
teeth on f, v; rounding, spreading); the figures below are the network's alone.

## Data

{options.about}

{len(judged)} clips with sound and a moving mouth, {sum(one.seconds for one in judged):.0f} s; {len(taken)} of them
({sum(one.seconds for one in taken):.0f} s) were learned from. The rest was left aside because no network that had not
seen the person could tell the mouth from the sound (correlation of the gap below 0.15: music, dubbing, other speakers).
Sound and picture of such files are often out of step; the shift is estimated for each clip by networks that never saw
its person, and taken out before training. No sound and no picture is part of the model.

Built with `python -m mimaface_cli.builders.speech478 FOLDER -o {options.output.name}{people} --folds {options.folds}
--rounds {options.rounds} --nets {options.nets} --steps {options.steps} --seed {options.seed}`.

## On people left out

Every clip is judged by the mean of {options.nets} networks ({options.folds}-fold, split by person) that never saw or heard its person;
the model that ships is the mean of {len(model.nets)} trained on all. Pearson correlation over time, mean over clips:

|  | clips | loudness alone (gap, in step) | jaw | gap | jaw, in step | gap, in step |
| --- | --- | --- | --- | --- | --- | --- |
| learned from | {len(taken)} | {mean("floor", taken):.2f} | {mean("jaw", taken):.2f} | {mean("gap", taken):.2f} | {mean("jaw_in_step", taken):.2f} | {mean("gap_in_step", taken):.2f} |
| all | {len(judged)} | {mean("floor", judged):.2f} | {mean("jaw", judged):.2f} | {mean("gap", judged):.2f} | {mean("jaw_in_step", judged):.2f} | {mean("gap_in_step", judged):.2f} |

*jaw*: jawOpen; *gap*: between the inner lips; *in step*: with the file's shift between sound and picture
taken out, as the networks that never saw the person find it (at most 240 ms, far shifts doubted).

| clip | seconds | shift, ms | loudness | jaw | gap | jaw, in step | gap, in step | learned from |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

## Terms

Apache-2.0, but for two parts.

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
