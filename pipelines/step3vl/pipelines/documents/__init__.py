"""From what is read on a page to its label: blocks in reading order, tables, markup and checks."""
