"""What a CRM needs to read scores: of Redis and the contract alone, nothing of the workers."""
