"""The commands of `python -m offline`, a module each: options are parsed, a room's `run` is called, its result is told.

What takes seconds is imported inside: `--help`, and whatever is refused before a file is read, do without.
"""
