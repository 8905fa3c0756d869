"""Charts from a table and a style, by Vega-Lite and by matplotlib, read back from their marks."""
