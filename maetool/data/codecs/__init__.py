"""Bytes to arrays: photographs and what else OpenCV and Pillow read, within bounds."""
