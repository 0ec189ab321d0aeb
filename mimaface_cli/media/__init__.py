"""Reading and writing of video, audio and images: FFmpeg (PyAV) for video and audio, Pillow for images."""
