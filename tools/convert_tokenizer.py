"""`maetool convert_tokenizer` from a checkout; see maetool/commands/convert_tokenizer.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("convert_tokenizer")
