"""What a customer is worth in twelve months: who still buys, times what a purchase day brings."""
