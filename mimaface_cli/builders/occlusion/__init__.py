"""Training of the occlusion network, which segments the occluders of a face."""
