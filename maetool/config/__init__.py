"""Configs: loading, command-line options, validation, completion, and configs from untrusted checkpoints."""
