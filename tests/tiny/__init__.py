"""The paper's model a thousand times smaller, in the very files and names of the release: random, seeded, fast."""

from tests.tiny.release import make_release, make_vae, publish

__all__ = ["make_release", "make_vae", "publish"]
