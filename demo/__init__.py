"""The demonstration: real services and real purchases from the package index alone, one live run and its result."""
