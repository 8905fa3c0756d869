"""A sketch in pixels: its strokes, and a free place for each of its labels."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.exercises.outlines import Outline
from step3vl.pipelines.render.exercises.sketch import XY, AngleMark, Label, Sketch, Stroke, Ticks, between
from step3vl.pipelines.render.exercises.sketch_style import Lettering, SketchStyle
from step3vl.pipelines.render.figures.figure import PixelBox

_STEP = 2.0  # pixels between the samples of a stroke
_CLEAR = 0.16  # font sizes between a label and what is near it
_DOT = 1.7  # line widths, the radius of a dot
_DIRECTIONS = 24
_ARROW = 4.2  # line widths, the length of an arrow's head, at least 7 pixels


@dataclass(frozen=True)
class PlacedLabel:
    """A label with its outline, the left end of its baseline and its ink box, in pixels."""

    text: str
    outline: Outline
    x: float
    y: float
    box: PixelBox
    slant: bool


@dataclass(frozen=True)
class Layout:
    """A sketch in pixels, y downwards.

    Attributes:
        size: Width and height of the image.
        strokes: With points in pixels.
        dots: Centre, whether filled, colour.
        labels: Placed.
    """

    size: tuple[int, int]
    strokes: tuple[Stroke, ...]
    dots: tuple[tuple[XY, bool, int | None], ...]
    labels: tuple[PlacedLabel, ...]


def lay_out(sketch: Sketch, style: SketchStyle, lettering: Lettering, rng: random.Random) -> Layout:
    """Give a sketch its size in pixels and place its labels.

    Raises:
        Dropped: `no_room_for_label`, or `no_font_has_all_characters`.
    """
    return _Layouter(sketch, style, lettering, rng).lay_out()


class _Layouter:
    def __init__(self, sketch: Sketch, style: SketchStyle, lettering: Lettering, rng: random.Random) -> None:
        self._sketch, self._style, self._lettering, self._rng = sketch, style, lettering, rng
        xs, ys = zip(*_extent(sketch), strict=True)
        wide, high = max(max(xs) - min(xs), 1e-9), max(max(ys) - min(ys), 1e-9)
        side = style.side * sketch.share
        if sketch.equal:
            self._sx = self._sy = side / max(wide, high)
        else:
            aspect = sketch.aspect or rng.uniform(1.0, 1.6)  # words: of a rectangle
            self._sx, self._sy = side / wide, side / aspect / high
        self._clear = _CLEAR * style.font_size
        self._boxes: list[PixelBox] = []
        self._labels: list[PlacedLabel] = []

    def _pixels(self, at: XY) -> XY:
        return at[0] * self._sx, -at[1] * self._sy

    def lay_out(self) -> Layout:
        sketch = self._sketch
        strokes = [replace(stroke, points=tuple(map(self._pixels, stroke.points))) for stroke in sketch.strokes]
        angles = [
            replace(a, first=self._pixels(a.first), vertex=self._pixels(a.vertex), second=self._pixels(a.second))
            for a in sketch.angles
        ]
        for number, mark in enumerate(angles):
            strokes += self._angle_strokes(number, mark)
        for number, tick in enumerate(sketch.ticks):
            moved = replace(tick, start=self._pixels(tick.start), end=self._pixels(tick.end))
            strokes += self._tick_strokes(number, moved)
        dots = [(self._pixels(at), filled, colour) for at, filled, colour in sketch.dots]
        ink = [_samples(stroke) for stroke in strokes if stroke.role != "grid"]
        radius = _DOT * self._style.line_width + 1.5
        ink += [
            np.array([(x + dx, y + dy) for dx in (-radius, 0, radius) for dy in (-radius, 0, radius)])
            for (x, y), _, _ in dots
        ]
        self._ink = np.concatenate(ink) if ink else np.zeros((0, 2))
        for label in sketch.labels:
            if label.placing == "fixed":
                self._place_fixed(label)
        for mark in angles:
            if mark.label:
                self._place(Label(mark.label, mark.vertex), self._angle_spots(mark))
        for label in sketch.labels:
            if label.placing == "side":
                self._place(label, self._side_spots(label))
        for label in sketch.labels:
            if label.placing == "point":
                self._place(label, self._point_spots(label, strokes))
        return self._finish(strokes, dots)

    def _finish(self, strokes: list[Stroke], dots: list[tuple[XY, bool, int | None]]) -> Layout:
        """Move everything so that the image begins at 0, with a margin around."""
        points = [point for stroke in strokes for point in stroke.points] + [at for at, _, _ in dots]
        xs = [x for x, _ in points] + [x for box in self._boxes for x in (box[0], box[2])]
        ys = [y for _, y in points] + [y for box in self._boxes for y in (box[1], box[3])]
        margin = self._style.font_size * self._rng.uniform(0.7, 1.6)
        dx, dy = margin - min(xs), margin - min(ys)
        size = math.ceil(max(xs) + dx + margin), math.ceil(max(ys) + dy + margin)
        strokes = [self._by_hand(stroke) for stroke in strokes]
        labels = [
            replace(
                label, x=label.x + dx, y=label.y + dy,
                box=(label.box[0] + dx, label.box[1] + dy, label.box[2] + dx, label.box[3] + dy),
            )
            for label in self._labels
        ]  # fmt: skip
        return Layout(
            size,
            tuple(replace(stroke, points=tuple((x + dx, y + dy) for x, y in stroke.points)) for stroke in strokes),
            tuple(((x + dx, y + dy), filled, colour) for (x, y), filled, colour in dots),
            tuple(labels),
        )

    def _by_hand(self, stroke: Stroke) -> Stroke:
        """A straight stroke with the strokes of an unsteady hand; its ends stay."""
        if not self._style.wobble or not stroke.straight or len(stroke.points) != 2:
            return stroke
        (x1, y1), (x2, y2) = stroke.points
        length = math.hypot(x2 - x1, y2 - y1)
        if length < 30:
            return stroke
        hand = random.Random(f"{stroke.name} {length:.3f}")
        u, v = (y1 - y2) / length, (x2 - x1) / length
        first, second = hand.uniform(-1, 1), hand.uniform(-1, 1)
        count = max(6, round(length / 14))
        points = []
        for i in range(count + 1):
            t = i / count
            away = self._style.wobble * (first * math.sin(math.pi * t) + second * math.sin(2 * math.pi * t))
            points.append((x1 + (x2 - x1) * t + u * away, y1 + (y2 - y1) * t + v * away))
        return replace(stroke, points=tuple(points))

    # Marks of angles and of equal sides, whose size is in pixels.

    def _angle_strokes(self, number: int, mark: AngleMark) -> list[Stroke]:
        start, end = _direction(mark.vertex, mark.first), _direction(mark.vertex, mark.second)
        reach = min(math.dist(mark.vertex, mark.first), math.dist(mark.vertex, mark.second))
        turn = (end - start + math.pi) % (2 * math.pi) - math.pi
        colour = 0 if self._style.accent else None
        if mark.right:
            side = min(0.62 * self._style.arc, 0.4 * reach)
            a = _step(mark.vertex, start, side)
            b = _step(mark.vertex, end, side)
            corner = a[0] + b[0] - mark.vertex[0], a[1] + b[1] - mark.vertex[1]
            return [Stroke(f"angle-{number}", (a, corner, b), "mark", colour=colour)]
        strokes = []
        for arc in range(mark.arcs):
            radius = self._radius(mark, abs(turn), reach) + 0.25 * self._style.arc * arc
            points = tuple(_step(mark.vertex, start + turn * i / 16, radius) for i in range(17))
            strokes.append(Stroke(f"angle-{number}-{arc}", points, "mark", colour=colour))
        return strokes

    def _radius(self, mark: AngleMark, turn: float, reach: float) -> float:
        wide = self._style.arc * (1.0 if turn > 0.6 else 1.5)
        return min(wide, 0.45 * reach)

    def _tick_strokes(self, number: int, tick: Ticks) -> list[Stroke]:
        direction = _direction(tick.start, tick.end)
        size = 0.34 * self._style.font_size
        middle = between(tick.start, tick.end, 0.5 if not tick.parallel else 0.56)
        strokes = []
        for i in range(tick.count):
            at = _step(middle, direction, (i - (tick.count - 1) / 2) * 0.45 * size * 1.2)
            if tick.parallel:
                points = tuple(_step(at, direction + math.pi + turn, 1.2 * size) for turn in (0.55, -0.55))
                points = (points[0], at, points[1])
            else:
                points = (_step(at, direction + math.pi / 2, size), _step(at, direction - math.pi / 2, size))
            strokes.append(Stroke(f"tick-{number}-{i}", points, "mark"))
        return strokes

    # Where a label may stand: a point and the direction from it in which the label lies, the best first.

    def _outline(self, label: Label) -> Outline:
        outlines = self._lettering.outlines(self._style.family.name, label.text, label.bold)
        if outlines is None:
            raise Dropped("no_font_has_all_characters")
        return outlines.outline(label.text, self._style.font_size * label.size)

    def _slants(self, label: Label) -> bool:
        return self._style.slant and not label.upright and len(label.text) == 1 and label.text.isalpha()

    def _angle_spots(self, mark: AngleMark) -> Iterator[tuple[XY, XY]]:
        start, end = _direction(mark.vertex, mark.first), _direction(mark.vertex, mark.second)
        turn = (end - start + math.pi) % (2 * math.pi) - math.pi
        reach = min(math.dist(mark.vertex, mark.first), math.dist(mark.vertex, mark.second))
        radius = self._radius(mark, abs(turn), reach) + 0.25 * self._style.arc * (mark.arcs - 1)
        distance = radius + self._clear
        while distance < max(0.8 * reach, radius + 2 * self._style.font_size):
            for share in (0.5, 0.42, 0.58, 0.34, 0.66):
                direction = start + turn * share
                yield _step(mark.vertex, direction, distance), (math.cos(direction), math.sin(direction))
            distance += 0.2 * self._style.font_size

    def _side_spots(self, label: Label) -> Iterator[tuple[XY, XY]]:
        start, end = self._pixels(label.at), self._pixels(label.to)
        direction = _direction(start, end) + math.pi / 2
        normal = math.cos(direction), math.sin(direction)
        middle = between(start, end, 0.5)
        if label.away is not None:
            away = self._pixels(label.away)
            if (middle[0] - away[0]) * normal[0] + (middle[1] - away[1]) * normal[1] < 0:
                normal = -normal[0], -normal[1]
        for gap in (1.0, 2.0, 3.2):
            for side in (1, -1):
                for share in (0.5, 0.44, 0.56, 0.38, 0.62, 0.3, 0.7):
                    at = between(start, end, share)
                    shift = (gap - 1) * self._clear * side
                    at = at[0] + normal[0] * shift, at[1] + normal[1] * shift
                    yield at, (normal[0] * side, normal[1] * side)

    def _point_spots(self, label: Label, strokes: Sequence[Stroke]) -> Iterator[tuple[XY, XY]]:
        at = self._pixels(label.at)
        if label.away is not None:
            best = _direction(self._pixels(label.away), at)
        else:
            near = [
                _direction(at, other)
                for stroke in strokes
                if len(stroke.ends) == 2
                for here, other in ((stroke.points[0], stroke.points[-1]), (stroke.points[-1], stroke.points[0]))
                if math.dist(here, at) < 0.01
            ]
            x, y = sum(map(math.cos, near)), sum(map(math.sin, near))
            best = math.atan2(-y, -x) if math.hypot(x, y) > 1e-6 else self._rng.uniform(0, 2 * math.pi)
        for gap in (1.0, 1.9, 3.0):
            for i in range(_DIRECTIONS):
                turn = (i + 1) // 2 * (1 if i % 2 else -1) * 2 * math.pi / _DIRECTIONS
                direction = best + turn
                shift = gap * self._clear
                yield _step(at, direction, shift), (math.cos(direction), math.sin(direction))

    def _place(self, label: Label, spots: Iterator[tuple[XY, XY]]) -> None:
        outline = self._outline(label)
        left, top, right, bottom = outline.box
        half = (right - left) / 2, (bottom - top) / 2
        slant = self._slants(label)
        half = (half[0] + (0.08 * self._style.font_size if slant else 0), half[1])
        for anchor, (u, v) in spots:
            # The centre lies so far out that the box just clears the line through the anchor across the direction.
            distance = self._clear + abs(u) * half[0] + abs(v) * half[1]
            centre = anchor[0] + u * distance, anchor[1] + v * distance
            box = centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]
            if self._is_free(box):
                x, y = centre[0] - (left + right) / 2, centre[1] - (top + bottom) / 2
                self._add(PlacedLabel(label.text, outline, x, y, box, slant))
                return
        raise Dropped("no_room_for_label")

    def _place_fixed(self, label: Label) -> None:
        outline = self._outline(label)
        size = self._style.font_size
        x, y = self._pixels(label.at)
        x, y = x + label.offset[0] * size, y + label.offset[1] * size
        x -= {"left": 0.0, "center": outline.advance / 2, "right": outline.advance}[label.align]
        y += 0.36 * size * label.size
        left, top, right, bottom = outline.box
        box = x + left, y + top, x + right, y + bottom
        if not label.over and not self._is_free(box):
            raise Dropped("no_room_for_label")
        if any(_touch(box, other, 0.0) for other in self._boxes):
            raise Dropped("no_room_for_label")
        slant = self._slants(label)
        self._add(PlacedLabel(label.text, outline, x, y, box, slant))

    def _add(self, label: PlacedLabel) -> None:
        self._labels.append(label)
        self._boxes.append(label.box)

    def _is_free(self, box: PixelBox) -> bool:
        if any(_touch(box, other, self._clear) for other in self._boxes):
            return False
        pad = 0.6 * self._clear + self._style.line_width / 2 + self._style.wobble
        x, y = self._ink[:, 0], self._ink[:, 1]
        inside = (x > box[0] - pad) & (x < box[2] + pad) & (y > box[1] - pad) & (y < box[3] + pad)
        return not bool(inside.any())


def arrow_head(stroke: Stroke, line_width: float) -> tuple[XY, XY, XY]:
    """The corners of the head that ends a stroke, its tip first."""
    (x1, y1), (x2, y2) = stroke.points[-2:]
    direction = math.atan2(y2 - y1, x2 - x1)
    length = max(7.0, _ARROW * line_width)
    tip = x2, y2
    left, right = (_step(tip, direction + math.pi + turn, length) for turn in (0.38, -0.38))
    return tip, left, right


def _extent(sketch: Sketch) -> list[XY]:
    points = [point for stroke in sketch.strokes for point in stroke.points]
    return points + list(sketch.points.values()) + [at for at, _, _ in sketch.dots]


def _samples(stroke: Stroke) -> NDArray[np.float64]:
    """Points of a stroke, close enough that no label fits between two."""
    points = np.array([*stroke.points, stroke.points[0]] if stroke.closed else stroke.points, dtype=float)
    lengths = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate(([0.0], np.cumsum(lengths)))
    at = np.linspace(0, along[-1], max(2, int(along[-1] / _STEP) + 1))
    return np.stack([np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])], axis=1)


def _touch(first: PixelBox, second: PixelBox, gap: float) -> bool:
    return (
        first[0] < second[2] + gap
        and second[0] < first[2] + gap
        and first[1] < second[3] + gap
        and second[1] < first[3] + gap
    )


def _direction(start: XY, end: XY) -> float:
    return math.atan2(end[1] - start[1], end[0] - start[0])


def _step(at: XY, direction: float, distance: float) -> XY:
    return at[0] + distance * math.cos(direction), at[1] + distance * math.sin(direction)
