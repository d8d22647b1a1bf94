"""What a person's data is, before training."""
