"""Circuits as code for schemdraw: what is connected to what, and the calls that draw it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Terminal = tuple[str, int]
"""A component's name, and 0 for where it starts or 1 for where it ends."""


@dataclass(frozen=True)
class Part:
    """A kind of component.

    Attributes:
        name: As people call it.
        letter: That its names begin with.
        classes: Of schemdraw, which look differently.
        units: Of its values.
        values: Significant figures of its values.
        symbol: The letter that its symbol shows.
    """

    name: str
    letter: str
    classes: tuple[str, ...]
    units: tuple[str, ...]
    values: tuple[str, ...]
    symbol: str = ""


_E12 = (
    "1",
    "1.2",
    "1.5",
    "1.8",
    "2.2",
    "2.7",
    "3.3",
    "3.9",
    "4.7",
    "5.6",
    "6.8",
    "8.2",
    "10",
    "22",
    "47",
    "100",
    "220",
)
SOURCES = (
    Part("voltage source", "V", ("SourceV", "SourceV", "Source"), ("V",), ("1.5", "3", "3.3", "5", "9", "12", "24")),
    Part("battery", "B", ("Battery", "BatteryCell"), ("V",), ("1.5", "3", "4.5", "6", "9", "12")),
    Part("current source", "I", ("SourceI",), ("A", "mA"), ("1", "2", "5", "10", "20")),
    Part("alternating voltage source", "V", ("SourceSin",), ("V",), ("5", "12", "24", "110", "230")),
)
PARTS = (
    Part("resistor", "R", ("Resistor", "Resistor", "ResistorIEC"), ("Ω", "kΩ", "MΩ"), _E12),
    Part("capacitor", "C", ("Capacitor", "Capacitor2"), ("pF", "nF", "µF"), _E12),
    Part("inductor", "L", ("Inductor", "Inductor2"), ("µH", "mH", "H"), _E12),
    Part("diode", "D", ("Diode", "Zener", "Schottky"), (), ()),
    Part("LED", "D", ("LED",), (), ()),
    Part("lamp", "L", ("Lamp", "Lamp2"), ("W",), ("5", "10", "40", "60")),
    Part("switch", "S", ("Switch", "Button"), (), ()),
    Part("fuse", "F", ("Fuse",), ("A",), ("0.5", "1", "2", "5", "10")),
    Part("ammeter", "A", ("MeterA",), (), (), "A"),
    Part("voltmeter", "V", ("MeterV",), (), (), "V"),
    Part("thermistor", "R", ("Thermistor",), ("kΩ",), ("2.2", "4.7", "10", "47", "100")),
    Part("photoresistor", "R", ("Photoresistor",), ("kΩ",), ("1", "5", "10")),
    Part("motor", "M", ("Motor",), ("V",), ("3", "6", "12"), "M"),
    Part("crystal", "X", ("Crystal",), ("MHz",), ("4", "8", "12", "16")),
    Part("memristor", "M", ("Memristor",), (), ()),
)
_COMMON = (12, 6, 4, 2, 2, 2, 2, 1, 2, 1, 1, 1, 1, 1, 1)  # how often each of `PARTS` is taken


@dataclass
class Circuit:
    """A circuit and its code.

    Attributes:
        body: Lines of the code, inside the drawing.
        parts: Name, kind and value of each component, in the order of the code.
        texts: That the image shows.
        nodes: Which terminals are connected, each node once.
        expression: Of a logic circuit, instead of components.
    """

    body: list[str] = field(default_factory=list)
    parts: list[tuple[str, str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    nodes: list[frozenset[Terminal]] = field(default_factory=list)
    expression: str = ""

    def data(self) -> str:
        """The components as CSV, or the expression."""
        if self.expression:
            return ""
        columns = 3 if any(value for _, _, value in self.parts) else 2
        rows = [("Component", "Type", "Value"), *self.parts]
        return "\n".join(",".join(row[:columns]) for row in rows)


class _Builder:
    """Writes components, and keeps which terminals are at which point of the grid."""

    def __init__(self, rng: random.Random, ohm: str, valued: float) -> None:
        self.circuit = Circuit()
        self._rng = rng
        self._ohm = ohm if rng.random() < 0.6 else ""
        self._valued = rng.random() < valued
        self._numbers: dict[str, int] = {}
        self._points: dict[tuple[int, int], set[Terminal]] = {}
        self._joined: dict[tuple[int, int], tuple[int, int]] = {}

    def part(self, kind: Part, start: tuple[int, int], direction: str) -> tuple[int, int]:
        """A component of the grid; returns where it ends."""
        number = self._numbers[kind.letter] = self._numbers.get(kind.letter, 0) + 1
        name = f"{kind.letter}{number}"
        has_value = bool(kind.units) and self._valued
        unit = self._rng.choice(kind.units).replace("Ω", self._ohm) if has_value else ""
        space = " " if self._ohm or kind.letter != "R" else ""  # 4.7k, as people write it without the sign
        value = f"{self._rng.choice(kind.values)}{space}{unit}" if has_value else ""
        self.circuit.parts.append((name, kind.name, value))
        self.circuit.texts += [text for text in (kind.symbol, name, value) if text]
        label = f"{name}\\n{value}" if value else name
        self.circuit.body.append(f'{name} = elm.{self._rng.choice(kind.classes)}().{direction}().label("{label}")')
        end = _next(start, direction)
        self._points.setdefault(self._root(start), set()).add((name, 0))
        self._points.setdefault(self._root(end), set()).add((name, 1))
        return end

    def wire(self, start: tuple[int, int], direction: str) -> tuple[int, int]:
        """A line; what it joins is one node."""
        end = _next(start, direction)
        self.circuit.body.append(f"elm.Line().{direction}()")
        a, b = self._root(start), self._root(end)
        if a != b:
            self._joined[b] = a
            self._points.setdefault(a, set()).update(self._points.pop(b, set()))
        return end

    def put(self, line: str) -> None:
        self.circuit.body.append(line)

    def _root(self, point: tuple[int, int]) -> tuple[int, int]:
        while point in self._joined:
            point = self._joined[point]
        return point

    def finish(self) -> Circuit:
        self.circuit.nodes = sorted(
            (frozenset(terminals) for terminals in self._points.values() if terminals), key=sorted
        )
        return self.circuit


def _next(point: tuple[int, int], direction: str) -> tuple[int, int]:
    x, y = point
    step = {"right": (1, 0), "left": (-1, 0), "up": (0, 1), "down": (0, -1)}[direction]
    return x + step[0], y + step[1]


def _some_part(rng: random.Random) -> Part:
    return rng.choices(PARTS, _COMMON)[0]


def loop(rng: random.Random, ohm: str) -> Circuit:
    """A source and components in a single loop."""
    build = _Builder(rng, ohm, 0.75)
    width, height = rng.randint(1, 3), rng.randint(1, 2)
    path = ["up"] * height + ["right"] * width + ["down"] * height + ["left"] * width
    point = build.part(rng.choice(SOURCES), (0, 0), "up")
    places = list(range(1, len(path)))
    chosen = set(rng.sample(places, rng.randint(1, min(5, len(places)))))
    for number in places:
        point = (
            build.part(_some_part(rng), point, path[number]) if number in chosen else build.wire(point, path[number])
        )
    if rng.random() < 0.25:
        build.put(f"elm.{rng.choice(('Ground', 'GroundSignal', 'GroundChassis'))}()")
    return build.finish()


def ladder(rng: random.Random, ohm: str) -> Circuit:
    """Branches between an upper and a lower line, such as filters, dividers and parallel circuits."""
    build = _Builder(rng, ohm, 0.7)
    branches = rng.randint(2, 4)
    in_line = [rng.random() < 0.5 for _ in range(branches)]
    dots = rng.random() < 0.7
    point = build.part(rng.choice(SOURCES), (0, 0), "up")
    for number in range(branches):
        point = build.part(_some_part(rng), point, "right") if in_line[number] else build.wire(point, "right")
        last = number == branches - 1
        if not last and dots:
            build.put("elm.Dot()")
        if not last:
            build.put("d.push()")
        end = build.part(_some_part(rng), point, "down")
        if not last and dots:
            build.put("elm.Dot()")
        build.wire(end, "left")
        if not last:
            build.put("d.pop()")
    return build.finish()


def bridge(rng: random.Random, ohm: str) -> Circuit:
    """Components in a row between two rows of wires, each with a further one across."""
    build = _Builder(rng, ohm, 0.6)
    point = build.part(rng.choice(SOURCES), (0, 0), "up")
    point = build.wire(point, "up")
    columns = rng.randint(1, 3)
    for number in range(columns):
        point = build.wire(point, "right")
        if number < columns - 1:
            build.put("d.push()")
        middle = build.part(_some_part(rng), point, "down")
        end = build.part(_some_part(rng), middle, "down")
        build.wire(end, "left")
        if number < columns - 1:
            build.put("d.pop()")
    return build.finish()


_NAMES = (
    ("A", "B", "C", "D"),
    ("a", "b", "c", "d"),
    ("x", "y", "z", "w"),
    ("p", "q", "r", "s"),
    ("X0", "X1", "X2", "X3"),
)
_GATES = ("and", "or", "nand", "nor", "xor", "xnor")


def logic(rng: random.Random, ohm: str) -> Circuit:
    """Gates of a Boolean expression."""
    names = rng.choice(_NAMES)
    unused = list(names[: rng.randint(2, 4)])
    rng.shuffle(unused)

    def term(operands: Sequence[str], top: bool) -> str:
        if len(operands) == 1:
            return f"(not {operands[0]})" if rng.random() < 0.25 else operands[0]
        cut = rng.randint(1, len(operands) - 1)
        gate = rng.choice(_GATES)
        text = f"{term(operands[:cut], False)} {gate} {term(operands[cut:], False)}"
        return text if top else f"({text})"

    expression = term(unused, True)
    output = rng.choice(("Y", "Q", "F", "Z", "out"))
    circuit = Circuit(texts=[*unused, output], expression=expression)
    width, height = rng.choice(((2, 0.75), (2, 1), (2.5, 1)))
    circuit.body.append(
        f'd = schemdraw.parsing.logicparse("{expression}", gateW={width}, gateH={height}, outlabel="{output}")'
    )
    return circuit


CIRCUITS: dict[str, Callable[[random.Random, str], Circuit]] = {
    "loop": loop,
    "ladder": ladder,
    "bridge": bridge,
    "logic": logic,
}
"""Makers of random circuits; they are given the sign of ohms, or nothing where no font has it."""
