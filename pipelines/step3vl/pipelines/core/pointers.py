"""Pointers of images: relative to the root in rows, so that the root can be moved; absolute in memory."""

from step3vl.data.sample import Image


def relative(image: Image, root: str) -> Image:
    """The image with a pointer below `root` made relative to it; other pointers are kept.

    Args:
        image: It has a pointer.
        root: URL without a slash at its end.

    Raises:
        ValueError: It has none, nor any bytes.
    """
    if image.at is None:
        raise ValueError(f"image {image.sha256[:12]} has neither bytes nor a pointer to them")
    path = image.at.path
    if not path.startswith(f"{root}/"):
        return image
    return image.stored_at(image.at.model_copy(update={"path": path.removeprefix(f"{root}/")}))


def absolute(image: Image, root: str) -> Image:
    """The inverse of `relative`."""
    return image if image.at is None else image.stored_at(image.at.under(root))
