"""Face estimation: pixels to coefficients (landmarks, alignment, morphable models, networks, gaze)."""
