"""What is generated says so: an imperceptible mark in the frames, metadata, a record beside the file, credentials."""
