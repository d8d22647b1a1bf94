"""`maetool dataset_stats` from a checkout; see maetool/commands/dataset_stats.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("dataset_stats")
