"""What a job cannot do is one line for the person who asked: what was wrong, where, and what to do."""


class OfflineError(ValueError):
    """The base of every error that a command prints as it is, with exit code 2."""
