"""The offline half: history files in, first models and their figures out; meets the stream in DIR and in the fold."""
