"""The numbers of reenactment: one file per family. Arrays in, numbers out; nothing here opens a video."""
