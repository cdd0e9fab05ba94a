"""What customers will buy in the next days: examples, every way to predict, all judged on later time; `offline fit`."""
