"""What a checkpoint says about itself: the config, the grid of its encoder, where it comes from."""
