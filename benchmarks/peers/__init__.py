"""Others who serve values by key, measured beside the API; each in an environment of its own."""
