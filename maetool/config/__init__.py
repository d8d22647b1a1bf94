"""Configs: loaded, changed by the command line, checked, completed, and read from the files of strangers."""
