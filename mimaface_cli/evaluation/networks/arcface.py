"""ArcFace-compatible identity networks: the improved ResNets of InsightFace's releases."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from mimaface_cli.face.alignment import fit_similarity
from mimaface_cli.face.warp import warp_image
from mimaface_cli.weights.state_dict import count_blocks, load_network

SIDE = 112  # pixels of the aligned face
# Eyes, nose tip and mouth corners in the aligned face, as InsightFace aligns faces.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


class ArcFaceUnit(nn.Module):
    """A residual unit; the stride is that of the second convolution."""

    def __init__(self, channels: int, width: int, stride: int, has_projection: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if has_projection
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, width, H/stride, W/stride)."""
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + self.downsample(x)


class ArcFace(nn.Module):
    """The network, with the tensor names of InsightFace's releases.

    Args:
        depths: Number of units in each of the four stages; (3, 13, 30, 3) is R100.
        widths: Channels of each stage.
        embedding: Size of the embedding.
        side: Height and width of the last feature map.
    """

    def __init__(
        self,
        depths: tuple[int, ...] = (3, 13, 30, 3),
        widths: tuple[int, ...] = (64, 128, 256, 512),
        embedding: int = 512,
        side: int = 7,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.prelu = nn.PReLU(widths[0])
        channels = widths[0]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), 1):
            units = [
                ArcFaceUnit(channels if k == 0 else width, width, 2 if k == 0 else 1, k == 0) for k in range(depth)
            ]
            setattr(self, f"layer{stage}", nn.Sequential(*units))
            channels = width
        self.bn2 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels * side * side, embedding)
        self.features = nn.BatchNorm1d(embedding)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], name: str) -> "ArcFace":
        """Build the network that a state dict belongs to. Raises WeightsError."""
        depths = tuple(count_blocks(state, f"layer{stage}.") for stage in range(1, 5))
        first = state.get("conv1.weight")
        width = 64 if first is None or first.ndim != 4 else first.shape[0]
        network = cls(depths, (width, 2 * width, 4 * width, 8 * width))
        counters = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
        return load_network(network, counters | dict(state), name)

    def forward(self, x: Tensor) -> Tensor:
        """Map faces (B, 3, 112, 112), RGB -1..1, to embeddings (B, 512)."""
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.features(self.fc(self.bn2(x).flatten(1)))


def embed_face(network: nn.Module, image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the embedding (512) of a face.

    Args:
        network: The network.
        image: H×W×3 uint8 RGB.
        points: (5, 2) eyes, nose tip and mouth corners, pixel centers at whole numbers.
    """
    crop = warp_image(image, fit_similarity(points, TEMPLATE), SIDE)
    x = torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        return network(x)[0].numpy()
