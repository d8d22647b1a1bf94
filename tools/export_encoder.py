"""`maetool export_encoder` from a checkout; see maetool/commands/export_encoder.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("export_encoder")
