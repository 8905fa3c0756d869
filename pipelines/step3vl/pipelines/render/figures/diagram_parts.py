"""What diagrams share: the source of Graphviz and how it looks."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from step3vl.pipelines.render.charts.chart_style import PALETTES
from step3vl.pipelines.render.colours import contrast

FONTS = ("Arimo", "Tinos", "Cousine")  # those that graphviz-pure carries
_CARDS = ("#ffffff", "#eef4fb", "#fdf3e7", "#edf7ee", "#f6effa", "#fff8dc", "#f2f2f2", "#e3f2f1", "#fde9ec")


@dataclass
class Diagram:
    """A graph and its source.

    Attributes:
        engine: Graphviz's layout engine.
        directed: Whether edges have a direction.
        nodes: Label by id; the fields of a record are joined by `|`.
        edges: (tail, head, label).
        lines: Of the source.
        resolution: Dots per inch of the image.
        depth: Of the indentation.
    """

    engine: str = "dot"
    directed: bool = True
    nodes: dict[str, str] = field(default_factory=dict)
    edges: list[tuple[str, str, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    resolution: int = 96
    depth: int = 1

    def put(self, line: str) -> None:
        """Add a line of the source."""
        self.lines.append("  " * self.depth + line)

    def node(self, name: str, label: str, **attributes: str) -> None:
        """Add a node; its label is left out where it is the name."""
        self.nodes[name] = label
        attributes = ({} if label == name else {"label": label}) | attributes
        self.put(f"{name}{_attributes(attributes)};")

    def edge(self, tail: str, head: str, label: str = "", **attributes: str) -> None:
        """Add an edge."""
        self.edges.append((tail, head, label))
        attributes = ({"label": label} if label else {}) | attributes
        self.put(f"{tail} {'->' if self.directed else '--'} {head}{_attributes(attributes)};")

    @property
    def code(self) -> str:
        """The source."""
        return "\n".join((f"{'digraph' if self.directed else 'graph'} {{", *self.lines, "}")) + "\n"

    def table(self) -> str:
        """The edges as CSV by the texts of their nodes; empty where nodes share a text."""
        texts = {name: label.replace("\\n", " ") for name, label in self.nodes.items()}
        if len(set(texts.values())) < len(texts) or any(set(text) & set('|{},"') for text in texts.values()):
            return ""
        labels = any(label for _, _, label in self.edges)
        head = ("From,To" if self.directed else "Node,Node") + (",Label" if labels else "")
        rows = [
            ",".join((texts[tail], texts[head], *((label,) if labels else ()))) for tail, head, label in self.edges
        ]
        return "\n".join((head, *rows))


def _attributes(attributes: dict[str, str]) -> str:
    if not attributes:
        return ""
    quoted = (f'{name}="{value}"' if not value.isalnum() else f"{name}={value}" for name, value in attributes.items())
    return f" [{', '.join(quoted)}]"


@dataclass(frozen=True)
class DiagramStyle:
    """How a diagram looks."""

    font: str
    size: int
    fill: str
    line: str
    accent: str
    background: str
    rounded: bool
    direction: str
    resolution: int


def pick_diagram_style(rng: random.Random) -> DiagramStyle:
    """A random style."""
    palette = [colour for colour in rng.choice(PALETTES) if contrast(colour, "#ffffff") > 2]
    accents = [colour for colour in rng.choice(PALETTES) if contrast(colour, "#000000") > 8]
    return DiagramStyle(
        font=rng.choice(FONTS),
        size=rng.choice((11, 12, 13, 14)),
        fill=rng.choice(_CARDS),
        line=rng.choice((*palette, "#333333", "#000000")),
        accent=rng.choice(accents or ["#ffd92f"]),
        background=rng.choice(("#ffffff", "#ffffff", "#fbfaf5", "#f5f7fa")),
        rounded=rng.random() < 0.5,
        direction=rng.choice(("TB", "LR")),
        resolution=rng.choice((84, 96, 110)),
    )


def start_diagram(
    style: DiagramStyle, shape: str, engine: str = "dot", directed: bool = True, direction: str = ""
) -> Diagram:
    diagram = Diagram(engine, directed, resolution=style.resolution)
    looks = {"bgcolor": style.background}
    if engine == "dot":
        looks |= {"rankdir": direction or style.direction}
    else:
        looks |= {"layout": engine, "overlap": "false"}
    diagram.put(f"graph{_attributes(looks)};")
    filled = "filled,rounded" if style.rounded and shape == "box" else "filled"
    diagram.put(
        "node"
        + _attributes(
            {
                "shape": shape,
                "style": filled,
                "fillcolor": style.fill,
                "color": style.line,
                "fontname": style.font,
                "fontsize": str(style.size),
            }
        )
        + ";"
    )
    diagram.put(
        "edge" + _attributes({"color": style.line, "fontname": style.font, "fontsize": str(style.size - 2)}) + ";"
    )
    return diagram


def record_texts(label: str) -> Sequence[str]:
    """The texts that a label shows: the fields and lines of a record, or the lines of a plain one."""
    fields = label.strip("{}").split("|") if label.startswith("{") else [label]
    return [line for part in fields for line in part.replace("\\l", "\\n").split("\\n") if line]
