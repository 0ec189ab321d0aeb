"""Model files: registry, download, installation, verification and loading."""
