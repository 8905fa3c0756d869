"""Rendered images with exact boxes: styles, pages of text, scenes of icons, maps."""
