"""The difference of colours by CIEDE2000 (Sharma, Wu and Dalal, 2005)."""

import math
from collections.abc import Sequence

_WHITE = (0.95047, 1.0, 1.08883)
_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))


def colour_similarity(first: Sequence[float], second: Sequence[float]) -> float:
    """Similarity in 0..1 of two sRGB colours in 0..255: 1 for the same, 0 from a difference of 100 on."""
    return max(0.0, 1 - ciede2000(lab(first), lab(second)) / 100)


def lab(rgb: Sequence[float]) -> tuple[float, float, float]:
    """The CIELAB coordinates (D65) of an sRGB colour in 0..255."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in (c / 255 for c in rgb)
    ]
    xyz = [sum(map(float.__mul__, row, linear)) / white for row, white in zip(_TO_XYZ, _WHITE, strict=True)]
    x, y, z = (value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116 for value in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def ciede2000(first: Sequence[float], second: Sequence[float]) -> float:
    """The difference of two CIELAB colours."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    chroma = ((math.hypot(a1, b1) + math.hypot(a2, b2)) / 2) ** 7
    scale_a = 1.5 - 0.5 * math.sqrt(chroma / (chroma + 25**7))
    c1, c2 = math.hypot(scale_a * a1, b1), math.hypot(scale_a * a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, scale_a * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    hue_step = 0.0 if not c1 * c2 else (h2 - h1 + 180) % 360 - 180
    mean_hue = h1 + h2 if not c1 * c2 else (h1 + hue_step / 2) % 360
    delta_hue = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(hue_step / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    weight = (
        1
        - 0.17 * math.cos(math.radians(mean_hue - 30))
        + 0.24 * math.cos(math.radians(2 * mean_hue))
        + 0.32 * math.cos(math.radians(3 * mean_hue + 6))
        - 0.20 * math.cos(math.radians(4 * mean_hue - 63))
    )
    rotation = (
        -2
        * math.sqrt(mean_c**7 / (mean_c**7 + 25**7))
        * math.sin(math.radians(60 * math.exp(-(((mean_hue - 275) / 25) ** 2))))
    )
    light = (l2 - l1) / (1 + 0.015 * (mean_l - 50) ** 2 / math.sqrt(20 + (mean_l - 50) ** 2))
    chromatic, hue = (c2 - c1) / (1 + 0.045 * mean_c), delta_hue / (1 + 0.015 * mean_c * weight)
    return math.sqrt(max(light**2 + chromatic**2 + hue**2 + rotation * chromatic * hue, 0.0))
