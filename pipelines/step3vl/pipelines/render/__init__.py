"""Rendered images with exact boxes; a folder for each kind, and what they share: fonts, styles, SVG."""
