"""Annotated sets of images: boxes, polygons, points and phrases, in the formats that they are published in."""
