"""The commands of `python -m offline`, a module each. What takes seconds is imported inside: `--help` does without."""
