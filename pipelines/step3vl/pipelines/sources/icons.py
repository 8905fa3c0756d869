"""Icons as stencils with exact boxes."""

import io
from collections.abc import Sequence
from pathlib import Path

import resvg_py
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.pipelines.core.image_cache import ImageCache

_MASTER = 192  # pixels; every size is scaled down from one rendering
_CACHE = 64 << 20  # bytes of stencils that are kept
_OPAQUE = 96  # alpha from which a pixel belongs to the icon; below it is the blur of the edge


class IconSet:
    """Single-colour SVG icons, named by their files; `stencil` gives the alpha channel of an icon at a size.

    Raises:
        UserError: A file is no SVG image, or shows nothing.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._masters: dict[str, PILImage.Image] = {}
        for path in paths:
            try:
                png = resvg_py.svg_to_bytes(svg_string=path.read_text(), width=_MASTER, height=_MASTER)
            except (ValueError, UnicodeDecodeError) as error:
                raise UserError(f"{path} is not an SVG image ({error}); remove it from the pattern") from None
            with PILImage.open(io.BytesIO(bytes(png))) as rendering:
                alpha = rendering.getchannel("A")
            box = alpha.getbbox()
            if box is None:
                raise UserError(f"{path} shows nothing; remove it from the pattern")
            self._masters[path.stem] = alpha.crop(box)
        self._stencils = ImageCache(_CACHE)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._masters)

    def stencil(self, name: str, side: int) -> PILImage.Image:
        """The icon in mode L, cropped so tightly that its border is the icon's exact box.

        Args:
            name: Of the icon.
            side: The longer side in pixels, which the crop may fall short of by a little.
        """
        return self._stencils.get((name, side), lambda: self._scale(name, side))

    def _scale(self, name: str, side: int) -> PILImage.Image:
        master = self._masters[name]
        scale = side / max(master.size)
        size = max(1, round(master.width * scale)), max(1, round(master.height * scale))
        alpha = master.resize(size, PILImage.Resampling.LANCZOS)
        box = alpha.point(lambda value: 255 if value >= _OPAQUE else 0).getbbox()
        return alpha.crop(box) if box else alpha
