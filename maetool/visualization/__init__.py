"""Draws reconstruction panels and curves."""
