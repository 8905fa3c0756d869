"""Colours as `#rrggbb`: their channels, mixtures, contrast and distance."""


def rgb(colour: str) -> tuple[int, int, int]:
    """`#rrggbb` as numbers."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def mix(first: str, second: str, share: float) -> str:
    """A colour between two, `share` of the first."""
    pairs = zip(rgb(first), rgb(second), strict=True)
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, 1 to 21, as WCAG 2.1 defines it."""
    low, high = sorted((_luminance(rgb(first)), _luminance(rgb(second))))
    return (high + 0.05) / (low + 0.05)


def colour_distance(first: str, second: str) -> float:
    """How far two colours are apart to the eye, 0..765: the weighted distance known as redmean."""
    left, right = rgb(first), rgb(second)
    red, green, blue = (a - b for a, b in zip(left, right, strict=True))
    mean = (left[0] + right[0]) / 2
    squares = (2 + mean / 256) * red**2 + 4 * green**2 + (2 + (255 - mean) / 256) * blue**2
    return float(squares**0.5)


def _luminance(colour: tuple[int, int, int]) -> float:
    linear = [value / 3294.6 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
