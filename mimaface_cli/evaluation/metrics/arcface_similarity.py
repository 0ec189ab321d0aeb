"""ID-SIM: similarity to the source by an ArcFace-compatible network."""

import numpy as np

from mimaface_cli.evaluation.metric import ALIGNED_FACE, IDENTITY, FrameMeanMetric, Method, MetricInfo
from mimaface_cli.evaluation.metrics.identity import is_identity_sample
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.networks.face_embedding import alignment_points, cosine_similarity
from mimaface_cli.evaluation.video_pair import FramePair, VideoPair


class ArcFaceComparison:
    """Cosine similarity to the source (feature of a `VideoPair`)."""

    def __init__(self, video: VideoPair) -> None:
        self._network = pretrained.load_network("arcface")
        self._source = self._embed(video.source_face.image, video.source_face.points)

    def _embed(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        from mimaface_cli.evaluation.networks.arcface import embed_face  # loads PyTorch

        return embed_face(self._network, image, alignment_points(points) - 0.5)

    def compare(self, frame: FramePair) -> float | None:
        """Return the similarity, -1 to 1, of the frame's face, or None without a face."""
        if frame.face is None:
            return None
        return cosine_similarity(self._embed(frame.image, frame.face.points), self._source)


class IdSim(FrameMeanMetric):
    """Cosine similarity to the source by ArcFace."""

    info = MetricInfo(
        "id_sim",
        IDENTITY,
        "ID-SIM",
        "higher",
        4,
        "cosine similarity to the source by an ArcFace-compatible network (weights for research only)",
        network="arcface",
        method=Method("ArcFace R100 (Glint360K)", ALIGNED_FACE, "112x112"),
    )

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        video.feature(ArcFaceComparison)  # loaded here, so that an unusable network fails before the video is read

    def frame_value(self, frame: FramePair) -> float | None:
        """Return the similarity of a sampled frame."""
        return self.video.feature(ArcFaceComparison).compare(frame) if frame.feature(is_identity_sample) else None

    def empty_reason(self) -> str:
        """Return why no frame was sampled."""
        return "no face in the result"
