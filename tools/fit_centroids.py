"""`maetool fit_centroids` from a checkout; see maetool/commands/fit_centroids.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("fit_centroids")
