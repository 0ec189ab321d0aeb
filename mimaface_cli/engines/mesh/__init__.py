"""The embedded engine: animates a photo or a video as a textured mesh."""
