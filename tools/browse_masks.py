"""`maetool browse_masks` from a checkout; see maetool/commands/browse_masks.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("browse_masks")
