"""Read and write video, images and audio: video and audio with FFmpeg (PyAV), images with Pillow."""
