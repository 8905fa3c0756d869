"""Pages of text by layouts of many kinds, and what paper, ink and a camera do to them."""
