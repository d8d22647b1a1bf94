"""Where the parts of a user's data lie."""
