"""How a page is shown: the size of the window, the scale, colours, font, language."""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from step3vl.data.config import Config
from step3vl.pipelines.core.phrasings import Language

Theme = Literal["light", "dark"]

_ACCENTS = ("#0b57d0", "#1a7f37", "#8250df", "#b3261e", "#9a6700", "#00696d", "#a2195b", "#3d5a80", "#2f5d50")


class View(Config):
    """What a page of ours learns as `window.VIEW`, and how the browser shows any page."""

    seed: int
    """Of the page's random numbers, and so of what it holds."""
    width: int
    """Of the window, in CSS pixels."""
    height: int
    """Of the window, in CSS pixels."""
    scale: float
    """Pixels of the image for a CSS pixel."""
    theme: Theme
    language: Language
    font: str
    """The name of the family that the page is set in."""
    font_size: int
    """In CSS pixels."""
    accent: str
    """The colour of what stands out."""
    radius: int
    """Of corners, in CSS pixels."""
    density: float
    """A factor of distances."""

    def traits(self) -> dict[str, str]:
        """What was chosen, for the record."""
        return {
            "viewport": f"{self.width}x{self.height}",
            "scale": f"{self.scale:g}",
            "theme": self.theme,
            "language": self.language,
            "font": self.font,
        }


RECORDED_SEEDS = 2**31
"""Recordings have seeds below it. A page uses 32 bits, so that those from it on are left for evaluation."""


class ViewOptions(NamedTuple):
    """What `pick_view` chooses from."""

    viewports: Sequence[tuple[int, int]]
    scales: Sequence[float]
    languages: Sequence[Language]
    dark: float
    fonts: Sequence[str]


def pick_view(options: ViewOptions, rng: random.Random) -> View:
    """A random view."""
    width, height = rng.choice(options.viewports)
    return View(
        seed=rng.getrandbits(32) % RECORDED_SEEDS,
        width=width,
        height=height,
        scale=rng.choice(options.scales),
        theme="dark" if rng.random() < options.dark else "light",
        language=rng.choice(options.languages),
        font=rng.choice(options.fonts),
        font_size=rng.choice((13, 14, 15, 16)),
        accent=rng.choice(_ACCENTS),
        radius=rng.choice((0, 3, 6, 10)),
        density=rng.choice((0.85, 1.0, 1.15)),
    )
