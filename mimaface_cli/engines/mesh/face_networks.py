"""The networks that correct rendered parts of a face."""

from dataclasses import dataclass

from mimaface_cli.engines.mesh.eyelid_crop import EYELID
from mimaface_cli.engines.mesh.mouth_crop import MOUTH
from mimaface_cli.engines.mesh.part_network import PartNetwork, describe_network, open_network


@dataclass(frozen=True)
class FaceNetworks:
    """The networks of a run; None for a part that is painted alone.

    Attributes:
        mouth: The network that corrects mouths.
        eyes: The network that corrects closing eyelids.
    """

    mouth: PartNetwork | None = None
    eyes: PartNetwork | None = None

    def describe(self) -> dict[str, dict[str, str]]:
        """Return name and version of what renders each part, for reports."""
        return {"mouth": describe_network(self.mouth), "eyes": describe_network(self.eyes)}


PAINTED_FACE = FaceNetworks()


def open_networks(mouth: str, eyes: str) -> FaceNetworks:
    """Load the networks that the options name, see `open_network`.

    Raises:
        InputError: A file does not exist or cannot be read.
        WeightsError: A file is no such network.
    """
    return FaceNetworks(open_network(MOUTH, mouth), open_network(EYELID, eyes))
