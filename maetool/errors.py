"""The one exception for input that a person can get wrong."""


class UsageError(ValueError):
    """A mistake in what the user gave: a config, a path, a file, an argument.

    The message is one clear sentence that says what was found, what was expected and what to do. The tools print it
    without a traceback; any other exception is a defect of maetool and keeps its traceback.
    """
