"""`maetool predict` from a checkout; see maetool/commands/predict.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("predict")
