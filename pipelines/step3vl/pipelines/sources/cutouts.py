"""Cut-outs: images of single things on a transparent ground, in their own colours."""

import io
from collections.abc import Sequence
from pathlib import Path

import resvg_py
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.pipelines.core.image_cache import ImageCache

_MASTER = 384  # pixels of the longer side that vector images are rendered at
_CACHE = 128 << 20  # bytes of decoded cut-outs that are kept
_OPAQUE = 128  # alpha from which a pixel belongs to the thing


class CutoutSet:
    """Cut-outs by what their files are called, `_` and `-` read as spaces: PNG or WebP with alpha, or SVG.

    Files are decoded when they are used, so a set may have any number of them.

    Args:
        paths: The files.

    Raises:
        UserError: Two files have one name.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths: dict[str, Path] = {}
        for path in paths:
            name = " ".join(path.stem.replace("_", " ").replace("-", " ").split()).lower()
            if name in self._paths:
                raise UserError(f"{path} and {self._paths[name]} are both called {name!r}; rename one of them")
            self._paths[name] = path
        self._masters = ImageCache(_CACHE)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._paths)

    def cutout(self, name: str, side: int) -> PILImage.Image:
        """A cut-out in mode RGBA, cropped to what is opaque.

        Args:
            name: Of the cut-out.
            side: The longer side in pixels.

        Raises:
            ValueError: The file is no image, or shows nothing.
        """
        master = self._masters.get(name, lambda: self._open(self._paths[name]))
        scale = side / max(master.size)
        size = max(1, round(master.width * scale)), max(1, round(master.height * scale))
        # With colours multiplied by alpha, those of transparent pixels do not bleed into the edge.
        return master.convert("RGBa").resize(size, PILImage.Resampling.LANCZOS).convert("RGBA")

    def _open(self, path: Path) -> PILImage.Image:
        data = path.read_bytes()
        if path.suffix.lower() == ".svg":
            data = bytes(resvg_py.svg_to_bytes(svg_string=data.decode(), width=_MASTER, height=_MASTER))
        with PILImage.open(io.BytesIO(data)) as image:
            rgba = image.convert("RGBA")
        box = rgba.getchannel("A").point(lambda value: 255 if value >= _OPAQUE else 0).getbbox()
        if box is None:
            raise ValueError(f"{path.name} shows nothing")
        return rgba.crop(box)
