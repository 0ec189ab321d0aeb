"""Pictures, video and sound in and out; FFmpeg comes through PyAV, pictures through Pillow."""
