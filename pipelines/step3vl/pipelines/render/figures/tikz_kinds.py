"""Drawings as TikZ code: a builder for each family, with what the drawing shows and where, in centimetres."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from step3vl.pipelines.render.figures.diagram_names import EVENTS, QUESTIONS, STEPS

Point = tuple[float, float]
_COLOURS = (
    "black",
    "blue",
    "red",
    "teal",
    "orange",
    "purple",
    "brown",
    "blue!70!black",
    "red!80!black",
    "green!50!black",
)
_FILLS = ("blue!10", "red!10", "green!12", "yellow!25", "orange!20", "gray!15", "teal!15", "purple!10")
_WIDTHS = ("", "", "thick", "very thick", "thin")


@dataclass
class Drawing:
    """TikZ code, and what a page shows of it.

    Attributes:
        options: Of the picture.
        lines: Of the code, inside the picture.
        texts: Each with the middle of where it is, in centimetres.
        inked: Points that a line passes through.
        table: What the drawing says as CSV, or nothing.
    """

    options: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    texts: list[tuple[str, Point]] = field(default_factory=list)
    inked: list[Point] = field(default_factory=list)
    table: str = ""

    @property
    def code(self) -> str:
        """The picture."""
        options = f"[{', '.join(self.options)}]" if self.options else ""
        body = [f"  {line}" for line in self.lines]
        return "\n".join((f"\\begin{{tikzpicture}}{options}", *body, "\\end{tikzpicture}"))


def _geometry(rng: random.Random) -> Drawing:
    """Named points, lines between them, a circle."""
    drawing = Drawing([option for option in (rng.choice(_WIDTHS),) if option])
    names = rng.choice(("ABCDE", "PQRST", "KLMNO", "UVWXY"))[: rng.randint(3, 5)]
    points: dict[str, Point] = {}
    for name in names:
        for _ in range(50):
            point = (rng.randint(0, 14) / 2, rng.randint(0, 10) / 2)
            if all(math.dist(point, other) > 1.6 for other in points.values()):
                points[name] = point
                break
    colour = rng.choice(_COLOURS)
    for name, (x, y) in points.items():
        drawing.lines.append(f"\\coordinate ({name}) at ({x:g}, {y:g});")
    order = list(points)
    fill = f", fill={rng.choice(_FILLS)}" if rng.random() < 0.4 else ""
    drawing.lines.append(f"\\draw[{colour}{fill}] {' -- '.join(f'({name})' for name in order)} -- cycle;")
    drawing.inked += [_middle(points[a], points[b]) for a, b in pairwise([*order, order[0]])]
    if rng.random() < 0.5:
        around, radius = rng.choice(order), rng.choice((0.5, 0.75, 1, 1.25))
        drawing.lines.append(f"\\draw[{rng.choice(_COLOURS)}, dashed] ({around}) circle ({radius:g});")
    centre = (sum(x for x, _ in points.values()) / len(points), sum(y for _, y in points.values()) / len(points))
    for name, (x, y) in points.items():
        drawing.lines.append(f"\\fill ({name}) circle (1.5pt);")
        drawing.inked.append((x, y))
        angle = math.atan2(y - centre[1], x - centre[0])
        place = (x + 0.42 * math.cos(angle), y + 0.42 * math.sin(angle))
        drawing.lines.append(f"\\node at ({place[0]:.2f}, {place[1]:.2f}) {{${name}$}};")
        drawing.texts.append((name, place))
    return drawing


def _graph(rng: random.Random) -> Drawing:
    """Vertices on a circle or a grid, with weighted edges."""
    count = rng.randint(4, 7)
    names = [str(i + 1) for i in range(count)] if rng.random() < 0.4 else list("abcdefgh"[:count])
    radius = 1.6 + 0.25 * count
    turn = rng.choice((0, 90, 45))
    spots = {
        name: (round(radius * math.cos(a), 2), round(radius * math.sin(a), 2))
        for name, a in zip(names, (math.radians(turn + 360 * i / count) for i in range(count)), strict=True)
    }
    outline = rng.choice(("draw", "draw=blue", "draw=teal", "draw=red!70!black"))
    style = f"circle, {outline}, fill={rng.choice(_FILLS)}, minimum size=8mm"
    drawing = Drawing([f"vertex/.style={{{style}}}"])
    for name, (x, y) in spots.items():
        drawing.lines.append(f"\\node[vertex] ({name}) at ({x:g}, {y:g}) {{{name}}};")
        drawing.texts.append((name, (x, y)))
    edges = {tuple(sorted(pair)) for pair in pairwise(names)} | {tuple(sorted((names[0], names[-1])))}
    others = [tuple(sorted(pair)) for pair in combinations(names, 2) if tuple(sorted(pair)) not in edges]
    edges |= set(rng.sample(others, 1)) if rng.random() < 0.4 else set()
    directed = rng.random() < 0.4
    weighted = rng.random() < 0.6
    rows = []
    for tail, head in sorted(edges):
        weight = str(rng.randint(1, 20)) if weighted else ""
        label = f" node[midway, fill=white, inner sep=1pt] {{{weight}}}" if weighted else ""
        drawing.lines.append(f"\\draw{'[->]' if directed else ''} ({tail}) --{label} ({head});")
        a, b = spots[tail], spots[head]
        drawing.inked.append((a[0] + 0.33 * (b[0] - a[0]), a[1] + 0.33 * (b[1] - a[1])))
        if weighted:
            drawing.texts.append((weight, _middle(a, b)))
        rows.append(f"{tail},{head},{weight}" if weighted else f"{tail},{head}")
    head = "From,To" if directed else "Node,Node"
    drawing.table = "\n".join((head + (",Label" if weighted else ""), *rows))
    return drawing


def _flow(rng: random.Random) -> Drawing:
    """Boxes below or beside each other, with arrows."""
    down = rng.random() < 0.6
    steps = rng.sample(STEPS, rng.randint(3, 5))
    gap = rng.choice((1.6, 1.8, 2.0)) if down else rng.choice((4.0, 4.4))
    corners = ", rounded corners" if rng.random() < 0.5 else ""
    outline = rng.choice(("draw", "draw=blue", "draw=teal", "draw=orange"))
    box = f"{outline}, fill={rng.choice(_FILLS)}{corners}, minimum height=8mm, inner xsep=6pt"
    drawing = Drawing([f"box/.style={{{box}}}", f"line/.style={{->{rng.choice(('', ', thick'))}}}"])
    spots = [(0.0, -i * gap) if down else (i * gap, 0.0) for i in range(len(steps))]
    decision = rng.randrange(1, len(steps)) if down and rng.random() < 0.5 else None
    for i, (step, (x, y)) in enumerate(zip(steps, spots, strict=True)):
        text = rng.choice([q for q in QUESTIONS if ">" not in q]) if i == decision else step
        shape = ", diamond, aspect=2.4" if i == decision else ""
        drawing.lines.append(f"\\node[box{shape}] (s{i}) at ({x:g}, {y:g}) {{{text}}};")
        drawing.texts.append((text, (x, y)))
    rows = []
    for i, (a, b) in enumerate(pairwise(spots)):
        event = rng.choice(EVENTS) if rng.random() < 0.3 else ""
        label = f" node[midway, {'right' if down else 'above'}] {{{event}}}" if event else ""
        drawing.lines.append(f"\\draw[line] (s{i}) --{label} (s{i + 1});")
        drawing.inked.append(_middle(a, b))
        rows.append(f"{drawing.texts[i][0]},{drawing.texts[i + 1][0]},{event}")
    labelled = any(not row.endswith(",") for row in rows)
    drawing.table = "\n".join(
        ("From,To,Label" if labelled else "From,To", *(row if labelled else row.removesuffix(",") for row in rows))
    )
    drawing.texts += [(row.rpartition(",")[2], (math.nan, math.nan)) for row in rows if not row.endswith(",")]
    return drawing


def _polyline(rng: random.Random) -> Drawing:
    """Axes with a grid, ticks and a line through points."""
    count, top = rng.randint(4, 7), rng.randint(4, 6)
    colour = rng.choice(_COLOURS[1:])
    drawing = Drawing([rng.choice(("scale=1", "scale=0.9", "scale=0.8"))])
    scale = float(drawing.options[0].partition("=")[2])
    if rng.random() < 0.6:
        drawing.lines.append(f"\\draw[gray!40, very thin] (0, 0) grid ({count}, {top});")
    drawing.lines.append(f"\\draw[->] (0, 0) -- ({count + 0.5}, 0);")
    drawing.lines.append(f"\\draw[->] (0, 0) -- (0, {top + 0.5});")
    for x in range(1, count + 1):
        drawing.lines.append(f"\\draw ({x}, 0.08) -- ({x}, -0.08) node[below] {{{x}}};")
        drawing.texts.append((str(x), (math.nan, math.nan)))
    for y in range(1, top + 1):
        drawing.lines.append(f"\\draw (0.08, {y}) -- (-0.08, {y}) node[left] {{{y}}};")
        drawing.texts.append((str(y), (math.nan, math.nan)))
    points = [(float(x), rng.randint(0, 2 * top) / 2) for x in range(count + 1)]
    path = " -- ".join(f"({x:g}, {y:g})" for x, y in points)
    drawing.lines.append(f"\\draw[{colour}, thick] {path};")
    drawing.lines.append(f"\\foreach \\p in {{{', '.join(f'({x:g}, {y:g})' for x, y in points)}}}")
    drawing.lines.append(f"  \\fill[{colour}] \\p circle (2pt);")
    title = rng.choice(("Distance", "Level", "Load", "Speed", "Height", "Voltage"))
    drawing.lines.append(f"\\node[above] at ({count / 2:g}, {top + 0.5:g}) {{{title}}};")
    drawing.texts.append((title, (math.nan, math.nan)))
    passed = [*points, *(_middle(a, b) for a, b in pairwise(points))]
    drawing.inked = [(scale * x, scale * y) for x, y in passed]
    drawing.table = "\n".join(("x,y", *(f"{x:g},{y:g}" for x, y in points)))
    return drawing


def _middle(a: Point, b: Point) -> Point:
    return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2


DRAWINGS: dict[str, Callable[[random.Random], Drawing]] = {
    "geometry": _geometry,
    "graph": _graph,
    "flow": _flow,
    "polyline": _polyline,
}
