"""`python -m maetool` is the command `maetool`."""

from maetool.commands import main

if __name__ == "__main__":
    main()
