"""The one form of the lines that a terminal shows; log files keep times, names and levels."""

import logging
import sys
from typing import Any


class PlainFormatter(logging.Formatter):
    """The message alone, and before it the level from warnings on, as in "warning: ..."."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return level + super().format(record)


def make_plain(logger: logging.Logger) -> logging.Logger:
    """Give the lines that a `logger` writes to the terminal the plain form, and return it."""
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:  # not those of files, which inherit from it
            handler.setFormatter(PlainFormatter())
    return logger


def tell_lost_lines_once(handler: logging.FileHandler) -> None:
    """Let a handler say once on the terminal that its file takes no lines, instead of a traceback for each of them.

    Args:
        handler: of a log file, on a disk that may become full.
    """
    told, otherwise = list[bool](), handler.handleError

    def handle(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            otherwise(record)
        elif not told:
            told.append(True)
            reason = error.strerror or error
            sys.stderr.write(f"warning: {handler.baseFilename} takes no more lines ({reason}); the run goes on.\n")

    vars(handler)["handleError"] = handle


def print_log(message: Any, level: int = logging.INFO) -> None:
    """Log a message to the logger of the run, or, without one, to the terminal.

    Args:
        message: the line.
        level: of the module `logging`.
    """
    from mmengine.logging import MMLogger  # not imported above, because --help must be quick

    logger = MMLogger.get_current_instance()
    if logger.instance_name == "mmengine":  # nobody has made one
        logger = make_plain(MMLogger.get_instance("maetool", logger_name="maetool"))
    logger.log(level, message)


def plural(number: float, word: str) -> str:
    """Return a number with its word, "1 image" or "2,000 images"."""
    return f"{number:,} {word}" + ("" if number == 1 else "es" if word.endswith(("s", "x")) else "s")
