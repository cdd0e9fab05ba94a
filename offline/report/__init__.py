"""One page about a history: `mining` runs the jobs, `plots` draws, `sections` writes, `page` is the frame."""
