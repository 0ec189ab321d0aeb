"""The diffusion engine: the paper's model, with the released checkpoint or a small one."""
