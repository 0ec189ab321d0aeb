"""The paper's model a thousand times smaller, in the files and under the names of the release; random, seeded."""

from tests.tiny.release import make_release, make_vae, publish

__all__ = ["make_release", "make_vae", "publish"]
