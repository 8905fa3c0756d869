"""Labels that a model makes, on Ray."""
