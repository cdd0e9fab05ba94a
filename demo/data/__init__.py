"""Real purchases, as packages of the Python package index ship them."""
