"""The build of mimaface-mini, a small model of the diffusion engine."""
