"""Circuit diagrams."""

import csv
import random

import pytest

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.figures.circuit_kinds import CIRCUITS, bridge, ladder, loop
from step3vl.pipelines.render.figures.circuits import CircuitMaker, read_nodes, write_code
from step3vl.pipelines.render.figures.figures import FigureOptions, Supply
from step3vl.pipelines.render.fonts import FontFamily


@pytest.fixture(scope="module")
def maker(families: list[FontFamily]) -> CircuitMaker:
    return CircuitMaker(Supply(families, FigureOptions(("en",), (240, 300), (180, 240), 0.0, ()), []))


@pytest.mark.parametrize("family", list(CIRCUITS))
def test_circuits_pass_their_proof_and_their_data_lists_the_components(maker: CircuitMaker, family: str) -> None:
    kept = 0
    for seed in range(8):
        try:
            made = maker.make(family, rng_for(family, seed))
        except Dropped:
            continue
        kept += 1
        labels = [element.text for element in made.figure.elements]
        if family == "logic":
            assert made.data == "" and "logicparse" in made.code
            continue
        rows = list(csv.DictReader(made.data.splitlines()))
        assert len(rows) >= 2 and all(row["Component"] in labels for row in rows)
        assert all(row.get("Value", "") in ("", *labels) for row in rows)
    assert kept >= 5


@pytest.mark.parametrize("kind", [loop, ladder, bridge])
def test_what_is_connected_is_read_back_from_the_drawing(
    maker: CircuitMaker, families: list[FontFamily], kind
) -> None:  # type: ignore[no-untyped-def]
    supply = Supply(families, FigureOptions(("en",), (240, 300), (180, 240), 0.0, ()), [])
    for seed in range(6):
        circuit = kind(random.Random(seed), "")
        code = write_code(circuit, supply.style("R1", random.Random(seed)), random.Random(seed))
        assert read_nodes(maker.run(code)) == circuit.nodes
        assert {name for node in circuit.nodes for name, _ in node} == {name for name, _, _ in circuit.parts}
        assert sum(map(len, circuit.nodes)) == 2 * len(circuit.parts), "each component has two ends"


def test_another_connection_is_noticed(maker: CircuitMaker) -> None:
    one = "import schemdraw\nimport schemdraw.elements as elm\nwith schemdraw.Drawing(show=False) as d:\n"
    parts = (
        '    elm.SourceV().up().label("V1")\n    elm.Resistor().right().label("R1")\n    elm.{}().down().label("R2")\n'
    )
    closed = maker.run(one + parts.format("Resistor") + "    elm.Line().left()\n")
    open_ = maker.run(one + parts.format("Resistor"))
    assert read_nodes(closed) != read_nodes(open_)
    assert frozenset({("V1", 0), ("R2", 1)}) in read_nodes(closed)


def test_a_style_does_not_outlive_its_drawing(maker: CircuitMaker) -> None:
    code = "import schemdraw\nimport schemdraw.parsing\n{}d = schemdraw.parsing.logicparse('a and b')\n"
    first = maker.run(code.format("")).get_imagedata("svg")
    maker.run(code.format("schemdraw.config(bgcolor='#000000', lw=4)\n"))
    assert maker.run(code.format("")).get_imagedata("svg") == first


@pytest.mark.parametrize("code", ["import os\n", "import schemdraw\nschemdraw.__dict__\n", "from os import path\n"])
def test_other_code_is_refused(maker: CircuitMaker, code: str) -> None:
    with pytest.raises(ValueError, match="the code"):
        maker.run(code)
