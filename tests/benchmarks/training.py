"""Measure what a training step costs, and check that training learns.

    python -m tests.benchmarks.training steps [--stages image,video] [--sizes tiny,mid] [--rounds 6] [--cached]
    python -m tests.benchmarks.training overfit FOLDER [--steps 2000]
    python -m tests.benchmarks.training retrieval FOLDER [--steps 300]

`steps` compares full steps of `train image` and `train video` on synthetic clips with the bare forward pass, backward
pass and AdamW update of the same UNet, MIA and CLIP (all views of the contrastive loss) on prepared tensors. Both run
alternately on one machine. A second run times the other parts of a step. On a CUDA card it also measures `sd15`, the
size of Stable Diffusion 1.5 with random weights.
`overfit` trains `train image` on eight clips of rendered people and prints the loss, and the PSNR of the frames that
the network generates for these clips.
`retrieval` looks up held-out rendered people by their ID tokens at two moments, after training without the identity
contrastive loss, with negatives from a memory bank, and with negatives from the batch.
`overfit` and `retrieval` resume where they stopped. FOLDER keeps clips, checkpoints and image sheets.
"""

import argparse
from pathlib import Path

import torch

from tests.benchmarks.training_learning import measure_retrieval, overfit
from tests.benchmarks.training_steps import BATCH, measure_steps


def main() -> None:
    """Run one of the three measurements."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    measurements = parser.add_subparsers(dest="measurement", required=True)
    steps = measurements.add_parser("steps", help="time of a step against its lower bound")
    steps.add_argument("--stages", default="image,video", help="comma-separated (default: image,video)")
    steps.add_argument("--sizes", default="tiny,mid,sd15" if cuda else "tiny,mid", help="networks, comma-separated")
    steps.add_argument("--rounds", type=int, default=6, help="measured rounds of five steps (default: 6)")
    steps.add_argument("--workers", type=int, default=0, help="processes that load data (default: 0)")
    steps.add_argument("--cached", action="store_true", help="train with cache_latents = true")
    for name, count, text in (
        ("overfit", 2000, "train on eight clips and compare the result with them"),
        ("retrieval", 300, "look up held-out people by their ID tokens"),
    ):
        learning = measurements.add_parser(name, help=text)
        learning.add_argument("folder", type=Path, help="folder of clips, checkpoints and sheets")
        learning.add_argument("--steps", type=int, default=count, help=f"training steps (default: {count})")
    arguments = parser.parse_args()
    if arguments.measurement == "overfit":
        overfit(arguments.folder, arguments.steps)
    elif arguments.measurement == "retrieval":
        measure_retrieval(arguments.folder, arguments.steps)
    else:
        print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if cuda else 'CPU'}, batches {BATCH}")
        for size in arguments.sizes.split(","):
            for stage in arguments.stages.split(","):
                measure_steps(size, stage, arguments.rounds, arguments.workers, arguments.cached)


if __name__ == "__main__":
    main()
