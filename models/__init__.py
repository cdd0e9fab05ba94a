"""Pure values in, values out: events, the fold over them, the models and the records that a CRM reads."""
