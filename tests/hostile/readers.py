"""All readers of files that the damage tests cover."""

from tests.hostile.joined_readers import JOINED_READERS
from tests.hostile.media_readers import MEDIA_READERS
from tests.hostile.motion_readers import MOTION_READERS
from tests.hostile.provenance_readers import PROVENANCE_READERS
from tests.hostile.reader import Reader
from tests.hostile.run_readers import RUN_READERS
from tests.hostile.weight_readers import WEIGHT_READERS

MAX_SECONDS = 20.0
"""Longest duration of one case; a valid file takes a fraction of a second."""

READERS: tuple[Reader, ...] = (
    *MOTION_READERS,
    *WEIGHT_READERS,
    *MEDIA_READERS,
    *JOINED_READERS,
    *RUN_READERS,
    *PROVENANCE_READERS,
)
