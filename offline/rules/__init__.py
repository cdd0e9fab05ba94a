"""What is bought together, and what to offer beside what was bought last."""
