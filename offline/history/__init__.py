"""Files become a history: decoded, judged row by row, cleaned, and folded into what is known of every customer."""
