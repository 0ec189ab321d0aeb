"""The build of the embedded morphable model from a folder of face images and clips."""
