"""Bytes by index: the files of a folder, the parts of an archive."""
