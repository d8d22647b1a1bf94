"""A trained model put to use: loaded, exported, converted, described, and asked for features or predictions."""
