"""Icons as stencils with exact boxes."""

import io
from collections.abc import Sequence
from pathlib import Path

import resvg_py
from PIL import Image as PILImage

from step3vl.data.errors import UserError

_MASTER = 192  # pixels; every size is scaled down from one drawing
_OPAQUE = 96  # alpha from which a pixel belongs to the icon; below it is the blur of the edge
_PLURALS = {"fish": "fish", "leaf": "leaves"}


def plural(name: str) -> str:
    """More than one of an icon, as a question names them."""
    return _PLURALS.get(name, name + "s")


class Icons:
    """Single-colour SVG drawings, named by their file; `stencil` gives the alpha of one at a size."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._masters: dict[str, PILImage.Image] = {}
        for path in paths:
            try:
                png = resvg_py.svg_to_bytes(svg_string=path.read_text(), width=_MASTER, height=_MASTER)
            except (ValueError, UnicodeDecodeError) as error:
                raise UserError(f"{path} is not an SVG drawing ({error}); remove it from the pattern") from None
            with PILImage.open(io.BytesIO(bytes(png))) as drawing:
                alpha = drawing.getchannel("A")
            box = alpha.getbbox()
            if box is None:
                raise UserError(f"{path} draws nothing; remove it from the pattern")
            self._masters[path.stem] = alpha.crop(box)
        self._stencils: dict[tuple[str, int], PILImage.Image] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._masters)

    def stencil(self, name: str, side: int) -> PILImage.Image:
        """Mode L, its longer side close to `side` pixels, cut so tightly that its border is the icon's exact box."""
        key = (name, side)
        if key not in self._stencils:
            master = self._masters[name]
            scale = side / max(master.size)
            size = max(1, round(master.width * scale)), max(1, round(master.height * scale))
            alpha = master.resize(size, PILImage.Resampling.LANCZOS)
            box = alpha.point(lambda value: 255 if value >= _OPAQUE else 0).getbbox()
            self._stencils[key] = alpha.crop(box) if box else alpha
        return self._stencils[key]
