"""Model files: the registry, where they are installed, and how they are downloaded, checked and loaded."""
