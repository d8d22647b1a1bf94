"""Tables of image files: what is read of their columns."""
