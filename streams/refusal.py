"""What a command or a worker cannot do: it ends with the text as one line and exit code 2."""


class Refusal(Exception):
    """End: the text says what is wrong, where, and what to do."""
