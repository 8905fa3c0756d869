"""A figure in coordinates of its own, before it has a size in pixels: points, strokes, marks and labels.

Exercises build a `Sketch` from exact coordinates; `sketch_layout` gives it pixels and finds room for its labels, and
`sketch_svg` renders it and reads the figure back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

XY = tuple[float, float]
Role = Literal["line", "aid", "mark", "axis", "grid", "curve", "body"]
"""`line` of the figure, `aid` (thin), `mark` of an angle, `axis`, `grid`, `curve` of a plot, `body` of a thing."""
Placing = Literal["point", "side", "fixed"]

BLANK = -1
"""As a filling: the colour of the background, to cut a hole."""


@dataclass(frozen=True)
class Stroke:
    """A polyline.

    Attributes:
        name: Identifies the stroke in the figure; unique where it is read back.
        points: At least two.
        role: How it looks.
        ends: The names of the points where it begins and ends; empty where they have none.
        closed: Whether the last point is joined to the first.
        dashed: Whether it is dashed.
        arrow: Whether an arrow head ends it.
        fill: Number of a colour of the palette, or `BLANK`; None for no filling.
        colour: Number of a colour of the palette; None for the ink.
        straight: Whether a freehand style may bend it.
    """

    name: str
    points: tuple[XY, ...]
    role: Role = "line"
    ends: tuple[str, str] | tuple[()] = ()
    closed: bool = False
    dashed: bool = False
    arrow: bool = False
    fill: int | None = None
    colour: int | None = None
    straight: bool = False


@dataclass(frozen=True)
class AngleMark:
    """An arc, or a square for a right angle, at `vertex` from the ray to `first` to the ray to `second`."""

    first: XY
    vertex: XY
    second: XY
    label: str = ""
    right: bool = False
    arcs: int = 1


@dataclass(frozen=True)
class Ticks:
    """Strokes across a segment that mark equal lengths, or arrow heads on it that mark parallels."""

    start: XY
    end: XY
    count: int = 1
    parallel: bool = False


@dataclass(frozen=True)
class Label:
    """A text and where it may stand.

    Attributes:
        text: What it says.
        at: The point, or the middle of the side.
        placing: `point`: around it; `side`: beside the segment from `at` to `to`; `fixed`: centred at `at`, moved by
            `offset`.
        to: The other end of a side.
        offset: Of a fixed label, in font sizes, x to the right, y downwards.
        away: A point that a `point` or `side` label prefers to lie opposite of.
        size: In font sizes.
        bold: Whether it is bold.
        align: Of a fixed label.
        over: Whether it may lie on strokes, such as a value inside of a bar.
        upright: Whether its symbols are never slanted.
    """

    text: str
    at: XY
    placing: Placing = "point"
    to: XY = (0.0, 0.0)
    offset: XY = (0.0, 0.0)
    away: XY | None = None
    size: float = 1.0
    bold: bool = False
    align: Literal["left", "center", "right"] = "center"
    over: bool = False
    upright: bool = False


@dataclass
class Sketch:
    """A figure under construction; y points upwards.

    Attributes:
        equal: Whether a unit is as long in x as in y.
        aspect: Width over height where it is not; None for a random one.
        share: Of the style's side that the longer side takes.
        points: The named points.
        strokes: In the order of rendering.
        angles: The marks of angles.
        ticks: The marks of equal and of parallel segments.
        labels: The texts.
        dots: Centre, whether filled, number of a colour.
    """

    equal: bool = True
    aspect: float | None = None
    share: float = 1.0
    points: dict[str, XY] = field(default_factory=dict)
    strokes: list[Stroke] = field(default_factory=list)
    angles: list[AngleMark] = field(default_factory=list)
    ticks: list[Ticks] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    dots: list[tuple[XY, bool, int | None]] = field(default_factory=list)

    def point(self, name: str, at: XY, label: bool = True, away: XY | None = None, dot: bool = False) -> XY:
        """Name a point, with its name beside it unless `label` is false."""
        self.points[name] = at
        if label:
            self.labels.append(Label(name, at, away=away))
        if dot:
            self.dot(at)
        return at

    def dot(self, at: XY, filled: bool = True, colour: int | None = None) -> None:
        """A small disc, or a ring."""
        self.dots.append((at, filled, colour))

    def segment(
        self,
        start: str,
        end: str,
        role: Role = "line",
        *,
        dashed: bool = False,
        arrow: bool = False,
        colour: int | None = None,
    ) -> None:
        """A segment between two named points."""
        self.strokes.append(
            Stroke(
                f"{start}-{end}", (self.points[start], self.points[end]), role, (start, end), dashed=dashed,
                arrow=arrow, colour=colour, straight=True,
            )
        )  # fmt: skip

    def polygon(self, *names: str, fill: int | None = None) -> None:
        """The sides of a polygon of named points."""
        if fill is not None:
            points = tuple(self.points[name] for name in names)
            self.strokes.append(Stroke("fill-" + "".join(names), points, "grid", closed=True, fill=fill))
        for start, end in zip(names, (*names[1:], names[0]), strict=True):
            self.segment(start, end)

    def line(
        self,
        name: str,
        points: Sequence[XY],
        role: Role = "line",
        *,
        closed: bool = False,
        dashed: bool = False,
        arrow: bool = False,
        fill: int | None = None,
        colour: int | None = None,
    ) -> None:
        """A polyline between points without names."""
        self.strokes.append(
            Stroke(
                name, tuple(points), role, (), closed, dashed, arrow, fill, colour,
                straight=len(points) == 2 and role in ("line", "aid"),
            )
        )  # fmt: skip

    def circle(
        self, name: str, centre: XY, radius: float, role: Role = "line", fill: int | None = None, dashed: bool = False
    ) -> None:
        """A circle as a polygon of many sides."""
        self.arc(name, centre, radius, 0, 360, role, fill=fill, dashed=dashed)

    def arc(
        self,
        name: str,
        centre: XY,
        radius: float,
        start: float,
        end: float,
        role: Role = "line",
        *,
        fill: int | None = None,
        dashed: bool = False,
        arrow: bool = False,
        colour: int | None = None,
    ) -> None:
        """An arc, counter-clockwise from `start` to `end` in degrees."""
        count = max(8, round(abs(end - start) / 2))
        whole = abs(end - start) >= 360
        steps = range(count) if whole else range(count + 1)
        points = tuple(on_circle(centre, radius, start + (end - start) * i / count) for i in steps)
        self.strokes.append(
            Stroke(name, points, role, closed=whole, fill=fill, dashed=dashed, arrow=arrow, colour=colour)
        )

    def side_label(self, start: str, end: str, text: str, away: XY | None = None) -> None:
        """A text beside the segment between two named points."""
        away = away or centroid(list(self.points.values()))
        self.labels.append(Label(text, self.points[start], "side", self.points[end], away=away))

    def angle(self, first: str, vertex: str, second: str, label: str = "", right: bool = False, arcs: int = 1) -> None:
        """The mark of an angle between three named points."""
        self.angles.append(AngleMark(self.points[first], self.points[vertex], self.points[second], label, right, arcs))

    def equal_ticks(self, *segments: tuple[str, str], count: int = 1, parallel: bool = False) -> None:
        """Mark segments as equal, or as parallel."""
        for start, end in segments:
            self.ticks.append(Ticks(self.points[start], self.points[end], count, parallel))

    def text(
        self,
        text: str,
        at: XY,
        offset: XY = (0.0, 0.0),
        *,
        size: float = 1.0,
        align: Literal["left", "center", "right"] = "center",
        over: bool = False,
        bold: bool = False,
        upright: bool = True,
    ) -> None:
        """A text at a fixed place."""
        self.labels.append(
            Label(text, at, "fixed", offset=offset, size=size, bold=bold, align=align, over=over, upright=upright)
        )

    def mapped(self, xx: float, xy: float, yx: float, yy: float) -> "Sketch":
        """The sketch under a linear map, with everything where it belongs; for figures that are not to scale."""

        def move(at: XY) -> XY:
            return xx * at[0] + xy * at[1], yx * at[0] + yy * at[1]

        return Sketch(
            self.equal,
            self.aspect,
            self.share,
            {name: move(at) for name, at in self.points.items()},
            [replace(stroke, points=tuple(map(move, stroke.points))) for stroke in self.strokes],
            [
                replace(mark, first=move(mark.first), vertex=move(mark.vertex), second=move(mark.second))
                for mark in self.angles
            ],
            [replace(tick, start=move(tick.start), end=move(tick.end)) for tick in self.ticks],
            [
                replace(label, at=move(label.at), to=move(label.to), away=label.away and move(label.away))
                for label in self.labels
            ],
            [(move(at), filled, colour) for at, filled, colour in self.dots],
        )


def on_circle(centre: XY, radius: float, degrees: float) -> XY:
    """The point of a circle at an angle from the positive x axis."""
    angle = math.radians(degrees)
    return centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)


def between(start: XY, end: XY, share: float) -> XY:
    """The point at a share of the way from one point to another."""
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def centroid(points: Sequence[XY]) -> XY:
    """The mean of points."""
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def turned(at: XY, degrees: float, scale: float = 1.0) -> XY:
    """A point turned counter-clockwise around the origin, and scaled."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return scale * (at[0] * cos - at[1] * sin), scale * (at[0] * sin + at[1] * cos)
