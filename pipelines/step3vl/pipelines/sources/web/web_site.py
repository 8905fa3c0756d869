"""A site saved as a folder: its pages, and the images that they name."""

import posixpath
from urllib.parse import quote, unquote, urlsplit

from step3vl.data.config import Config
from step3vl.data.sample import Pointer
from step3vl.data.storage import ABSENT, store_of
from step3vl.pipelines.core.inputs import InputFile, absolute_pattern


class Site(Config):
    """A folder and the address that it was served at."""

    folder: str
    """Absolute path or URL."""
    url: str
    """Its address, with a slash at the end."""

    def address_of(self, path: str) -> str:
        """The address of a file in the folder; empty for one that is not in it."""
        inside = path.removeprefix(f"{self.folder}/")
        return self.url + quote(inside) if inside != path else ""

    def path_of(self, address: str) -> str:
        """The file that an address names; empty if it is none of the site's."""
        site, link = urlsplit(self.url), urlsplit(address)
        if link.netloc != site.netloc.lower():
            return ""
        path = posixpath.normpath(unquote(link.path))
        if not path.startswith(unquote(site.path)) or "\0" in path:
            return ""
        return posixpath.join(self.folder, path.removeprefix(unquote(site.path)))


def site_of(file: InputFile, folder: str, url: str, base: str) -> Site | None:
    """The site that a file belongs to, if it lies in the folder.

    Args:
        file: An input.
        folder: As configured: absolute, or relative to `base`.
        url: The address that the folder was served at.
        base: The folder that relative patterns start from.
    """
    site = Site(folder=absolute_pattern(folder, base).rstrip("/"), url=f"{url.rstrip('/')}/")
    return site if site.address_of(file.url) else None


def stored_image(site: Site, address: str, limit: int) -> Pointer | None:
    """Where the image of an address is; None if the folder does not have it, or more than `limit` bytes of it.

    Raises:
        StoreError: The store does not answer.
    """
    path = "" if address.startswith("data:") else site.path_of(address)
    if not path:
        return None
    store, name = store_of(path)
    try:
        size = store.size(name)
    except ABSENT:
        return None
    return Pointer(path=path, offset=0, size=size) if 0 < size <= limit else None
