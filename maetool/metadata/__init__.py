"""The metadata of checkpoints: the config, the grid of the encoder, the provenance."""
