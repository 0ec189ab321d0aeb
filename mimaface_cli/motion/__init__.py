"""Motion tracks: the data type, its file formats, retargeting, keyframes, editing and smoothing."""
