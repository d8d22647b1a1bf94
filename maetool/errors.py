"""The one exception for input that a person can get wrong, and what other errors are about."""


class UsageError(ValueError):
    """A mistake in what the user gave: a config, a path, a file, an argument.

    The message is one clear sentence that says what was found, what was expected and what to do. The tools print it
    without a traceback; any other exception is a defect of maetool and keeps its traceback.
    """

    def __str__(self) -> str:
        """Return the message in one line, also where it quotes a file with line ends."""
        return " ".join(super().__str__().splitlines())


def tells_of_killed_loader(error: BaseException) -> bool:
    """Return whether an error is torch's about a loading process that was killed; it is raised at any place.

    An error that the code inside of such a process raises is told as "DataLoader worker process" instead.
    """
    return isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error)
