"""mimaface: video reenactment from one photo, driven by a video, a track or speech."""

__version__ = "0.1.0"
