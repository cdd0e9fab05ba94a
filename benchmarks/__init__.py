"""What `make bench` measures, and how well the models learn (`python -m benchmarks.learning`)."""
