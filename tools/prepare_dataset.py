"""`maetool prepare_dataset` from a checkout; see maetool/commands/prepare_dataset.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("prepare_dataset")
