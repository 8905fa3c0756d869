"""Mermaid diagrams."""

import pytest

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.figures import mermaid
from step3vl.pipelines.render.figures.figures import FigureOptions, Supply
from step3vl.pipelines.render.figures.mermaid import MermaidMaker
from step3vl.pipelines.render.figures.mermaid_kinds import MERMAID_DIAGRAMS, MermaidDiagram
from step3vl.pipelines.render.fonts import FontFamily


@pytest.fixture(scope="module")
def maker(families: list[FontFamily]) -> MermaidMaker:
    return MermaidMaker(Supply(families, FigureOptions(("en",), (240, 300), (180, 240), 0.0, ()), []))


@pytest.mark.parametrize("family", list(MERMAID_DIAGRAMS))
def test_diagrams_pass_their_proof(maker: MermaidMaker, family: str) -> None:
    kept = 0
    for seed in range(6):
        try:
            made = maker.make(family, rng_for(family, seed))
        except Dropped:
            continue
        kept += 1
        texts = {element.text for element in made.figure.elements}
        cells = {cell for row in made.data.splitlines()[1:] for cell in row.split(",")} - {""}
        assert cells <= texts
    assert kept >= 3


SOURCES = {
    "flowchart TD\n    A[One] -->|x| B[Two]\n    C[Three] --> A\n": [("A", "B"), ("C", "A")],
    "flowchart RL\n    A([One]) -.-> B{Two}\n    B ==> C[[Three]]\n": [("A", "B"), ("B", "C")],
    "sequenceDiagram\n    participant A\n    participant B\n    B->>A: x\n    A-->>B: y\n    A-)B: z\n": [
        ("B", "A"), ("A", "B"), ("A", "B"),
    ],
    "stateDiagram-v2\n    [*] --> On\n    On --> Off: x\n    Off --> [*]\n": [
        ("root_start", "On"), ("On", "Off"), ("Off", "root_end"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("code", list(SOURCES))
def test_lines_are_read_back_by_where_they_end(code: str) -> None:
    from xml.etree import ElementTree

    from mermaid_render import mermaid_to_svg

    assert mermaid.read_edges(ElementTree.fromstring(mermaid_to_svg(code))) == SOURCES[code]


@pytest.mark.parametrize(
    ("change", "reason"), [({"edges": [("A", "B"), ("B", "A")]}, "edges_differ"), ({"texts": ["One"]}, "texts_differ")]
)
def test_an_image_of_something_else_is_dropped(
    maker: MermaidMaker, monkeypatch: pytest.MonkeyPatch, change: dict[str, list[str]], reason: str
) -> None:
    fields = {"lines": ["flowchart TD", "    A[One] --> B[Two]"], "texts": ["One", "Two"], "edges": [("A", "B")]}
    diagram = MermaidDiagram(**(fields | change))  # type: ignore[arg-type]
    monkeypatch.setitem(MERMAID_DIAGRAMS, "flowchart", lambda rng: diagram)
    with pytest.raises(Dropped, match=reason):
        maker.make("flowchart", rng_for(0))
