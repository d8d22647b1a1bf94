"""Checks of this machine: installed packages, and trials of what runs need."""
