"""`maetool extract_features` from a checkout; see maetool/commands/extract_features.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("extract_features")
