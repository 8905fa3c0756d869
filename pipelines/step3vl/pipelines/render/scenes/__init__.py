"""Scenes of icons, maps, and mosaics of images, with exact boxes."""
