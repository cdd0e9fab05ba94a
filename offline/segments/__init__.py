"""Any table of customers, or a history's RFM, becomes features, clusters and words about them."""
