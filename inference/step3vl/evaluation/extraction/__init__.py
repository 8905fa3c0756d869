"""From a response to what a benchmark compares: option letters, numbers, expressions."""
