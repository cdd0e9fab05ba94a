"""What a command cannot do: it ends with the text as one line and exit code 2."""


class Refusal(Exception):
    """The text says what is wrong, where, and what to do. A worker meets none after its start: there `stop` ends it."""
