"""Finds a recipe for the user's images: facts of the data, rules, short candidates, a plan, its training, its worth."""
