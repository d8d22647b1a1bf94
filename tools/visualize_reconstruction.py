"""`maetool visualize_reconstruction` from a checkout; see maetool/commands/visualize_reconstruction.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("visualize_reconstruction")
