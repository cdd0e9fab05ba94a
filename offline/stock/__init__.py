"""Units of each product in the weeks ahead, and what to order."""
