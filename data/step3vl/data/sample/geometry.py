"""Points and boxes with explicit coordinate spaces.

A coordinate has a space ("pixels", "unit" 0..1, or "milli", the integers 0..1000 that answers carry), an order (x,
then y; boxes are x1, y1, x2, y2; origin top left) and the size of its image. Every resize and crop transforms it.
"""

from dataclasses import dataclass
from typing import Literal, Self

Space = Literal["pixels", "unit", "milli"]
Size = tuple[int, int]


def _extent(space: Space, size: Size) -> tuple[float, float]:
    """The coordinates in `space` of the bottom right corner of an image of `size`."""
    if space == "pixels":
        return float(size[0]), float(size[1])
    return (1.0, 1.0) if space == "unit" else (1000.0, 1000.0)


@dataclass(frozen=True, slots=True)
class Point:
    """A point in an image of `size` (width, height in pixels)."""

    x: float
    y: float
    space: Space
    size: Size

    def to(self, space: Space) -> Self:
        """The same point in another space; exact, never rounded."""
        width, height = _extent(self.space, self.size)
        new_width, new_height = _extent(space, self.size)
        return type(self)(self.x / width * new_width, self.y / height * new_height, space, self.size)

    def resized(self, size: Size) -> Self:
        """The point after its image was resized to `size`."""
        unit = self.to("unit")
        return type(self)(unit.x, unit.y, "unit", size).to(self.space)

    def cropped(self, x1: int, y1: int, x2: int, y2: int) -> Self:
        """The point relative to the crop `(x1, y1, x2, y2)` in pixels; it may be outside the crop."""
        pixels = self.to("pixels")
        return type(self)(pixels.x - x1, pixels.y - y1, "pixels", (x2 - x1, y2 - y1)).to(self.space)

    def milli(self) -> tuple[int, int]:
        """The integers 0..1000 that an answer carries."""
        point = self.to("milli")
        return round(point.x), round(point.y)


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box in an image of `size` (width, height in pixels), with x1 <= x2 and y1 <= y2."""

    x1: float
    y1: float
    x2: float
    y2: float
    space: Space
    size: Size

    def __post_init__(self) -> None:
        if self.x1 > self.x2 or self.y1 > self.y2:
            raise ValueError(f"box ({self.x1}, {self.y1}, {self.x2}, {self.y2}) is not in the order x1, y1, x2, y2")

    def corners(self) -> tuple[Point, Point]:
        """Top left and bottom right."""
        return Point(self.x1, self.y1, self.space, self.size), Point(self.x2, self.y2, self.space, self.size)

    @classmethod
    def of_corners(cls, first: Point, second: Point) -> Self:
        """The box with these top left and bottom right corners."""
        return cls(first.x, first.y, second.x, second.y, first.space, first.size)

    def to(self, space: Space) -> Self:
        """The same box in another space; exact, never rounded."""
        first, second = self.corners()
        return self.of_corners(first.to(space), second.to(space))

    def resized(self, size: Size) -> Self:
        """The box after its image was resized to `size`."""
        first, second = self.corners()
        return self.of_corners(first.resized(size), second.resized(size))

    def cropped(self, x1: int, y1: int, x2: int, y2: int) -> Self:
        """The box relative to the crop `(x1, y1, x2, y2)` in pixels, not clipped to it."""
        first, second = self.corners()
        return self.of_corners(first.cropped(x1, y1, x2, y2), second.cropped(x1, y1, x2, y2))

    def milli(self) -> tuple[int, int, int, int]:
        """The integers 0..1000 that an answer carries."""
        first, second = self.corners()
        return first.milli() + second.milli()

    @property
    def area(self) -> float:
        """The area in units of the box's space."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)

    @property
    def centre(self) -> Point:
        """The centre of the box."""
        return Point((self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2, self.space, self.size)

    def iou(self, other: "Box") -> float:
        """Intersection over union, 0..1; 0 when both are empty."""
        box = other.to(self.space)
        width = min(self.x2, box.x2) - max(self.x1, box.x1)
        height = min(self.y2, box.y2) - max(self.y1, box.y1)
        intersection = max(width, 0.0) * max(height, 0.0)
        union = self.area + box.area - intersection
        return intersection / union if union > 0 else 0.0
