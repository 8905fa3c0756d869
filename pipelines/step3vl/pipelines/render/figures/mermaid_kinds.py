"""Diagrams as Mermaid sources: a builder for each family, from names and random numbers."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from step3vl.pipelines.render.figures.diagram_names import (
    CLASSES,
    DETAILS,
    EVENTS,
    IDEAS,
    MODULES,
    PEOPLE,
    QUESTIONS,
    RELATIONS,
    STATES,
    STEPS,
    TIERS,
)

_MESSAGES = (
    *("Log in", "Token", "Request", "Response", "Send order", "Confirm", "Query", "Rows", "Upload", "Done", "Ping"),
    *("Pong", "Invoice", "Payment", "Receipt", "Reserve seat", "Cancel", "Refund", "Notify", "Acknowledge", "Retry"),
)
_SYSTEMS = ("Client", "Server", "Database", "Cache", "Gateway", "Worker", "Mailer", "Shop", "Bank", "Printer")
_MILESTONES = (
    *("First sketch", "Prototype", "Pilot", "Launch", "New office", "Patent", "Merger", "Redesign", "Open source"),
    *("First export", "Second site", "New model", "Big order", "Award", "Relaunch", "Mobile app", "Audit"),
)
_CARDINALITIES = ("||--o{", "||--|{", "||--||", "}o--o{", "|o--o{")


@dataclass
class MermaidDiagram:
    """A source, and what an image of it shows.

    Attributes:
        lines: Of the source.
        texts: That the image shows, each as often as it does.
        edges: Ids of the nodes that lines connect; None where there are no nodes and lines.
        directed: Whether the order of the ids matters.
        table: What the diagram says as CSV, or nothing.
    """

    lines: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    edges: list[tuple[str, str]] | None = None
    directed: bool = True
    table: str = ""

    @property
    def code(self) -> str:
        """The source."""
        return "\n".join(self.lines) + "\n"


def _flowchart(rng: random.Random) -> MermaidDiagram:
    direction = rng.choice(("TD", "LR", "TB", "BT", "RL"))
    steps = rng.sample(STEPS, rng.randint(3, 6))
    names = (
        [chr(ord("A") + i) for i in range(len(steps))] if rng.random() < 0.5 else [f"n{i}" for i in range(len(steps))]
    )
    shapes = [rng.choice(("[{}]", "({})", "[[{}]]", "([{}])")) for _ in steps]
    labels = dict(zip(names, steps, strict=True))
    decision = rng.randrange(1, len(steps) - 1) if rng.random() < 0.7 else None
    if decision is not None:
        labels[names[decision]], shapes[decision] = rng.choice(QUESTIONS), "{{{}}}"
    diagram = MermaidDiagram([f"flowchart {direction}"], list(labels.values()), [])
    edges = [(tail, head, "") for tail, head in pairwise(names)]
    if decision is not None:
        yes, no = ("yes", "no") if rng.random() < 0.5 else ("Yes", "No")
        edges[decision] = (*edges[decision][:2], yes)
        other = rng.choice([name for name in names if name not in (names[decision], names[decision + 1])])
        edges.append((names[decision], other, no))
    for name, shape in zip(names, shapes, strict=True):
        label = f'"{labels[name]}"' if ">" in labels[name] else labels[name]
        diagram.lines.append(f"    {name}{shape.format(label)}")
    arrow = rng.choice(("-->", "-->", "-.->", "==>"))
    for tail, head, label in edges:
        diagram.lines.append(f"    {tail} {arrow}{f'|{label}|' if label else ''} {head}")
        diagram.edges = [*(diagram.edges or []), (tail, head)]
        diagram.texts += [label] if label else []
    rows = [f"{labels[tail]},{labels[head]},{label}" for tail, head, label in edges]
    diagram.table = "\n".join(("From,To,Label", *rows)) if decision is not None else ""
    if not diagram.table:
        diagram.table = "\n".join(("From,To", *(row.removesuffix(",") for row in rows)))
    return diagram


def _sequence(rng: random.Random) -> MermaidDiagram:
    names = rng.sample(rng.choice((PEOPLE, _SYSTEMS)), rng.randint(2, 4))
    diagram = MermaidDiagram(["sequenceDiagram"])
    diagram.lines += [f"    participant {name}" for name in names]
    diagram.texts += [name for name in names for _ in range(2)]  # at the top and at the bottom
    rows = ["Sender,Receiver,Message"]
    edges = []
    for message in rng.sample(_MESSAGES, rng.randint(3, 7)):
        tail, head = rng.sample(names, 2)
        arrow = rng.choice(("->>", "->>", "-->>", "-)"))
        diagram.lines.append(f"    {tail}{arrow}{head}: {message}")
        diagram.texts.append(message)
        rows.append(f"{tail},{head},{message}")
        edges.append((tail, head))
    diagram.edges, diagram.table = edges, "\n".join(rows)
    return diagram


def _states(rng: random.Random) -> MermaidDiagram:
    names = rng.sample(STATES, rng.randint(3, 5))
    events = iter(rng.sample(EVENTS, 12))
    diagram = MermaidDiagram(["stateDiagram-v2"], list(names), [])
    if rng.random() < 0.4:
        diagram.lines.append("    direction LR")
    pairs = list(pairwise(names))
    extra = (rng.choice(names[1:]), names[0])
    pairs += [extra] if extra not in pairs and extra[::-1] not in pairs else []
    diagram.lines.append(f"    [*] --> {names[0]}")
    edges = [("root_start", names[0])]
    rows = ["From,To,Event"]
    for tail, head in pairs:
        event = next(events)
        diagram.lines.append(f"    {tail} --> {head}: {event}")
        diagram.texts.append(event)
        edges.append((tail, head))
        rows.append(f"{tail},{head},{event}")
    if rng.random() < 0.6:
        diagram.lines.append(f"    {names[-1]} --> [*]")
        edges.append((names[-1], "root_end"))
    diagram.edges, diagram.table = edges, "\n".join(rows)
    return diagram


def _classes(rng: random.Random) -> MermaidDiagram:
    names = rng.sample(list(CLASSES), rng.randint(2, 4))
    diagram = MermaidDiagram(["classDiagram"], list(names), [], directed=False)
    for name in names:
        diagram.lines.append(f"    class {name} {{")
        for attribute in CLASSES[name]:
            field_name, _, kind = attribute.partition(": ")
            line = f"{rng.choice('+-#')}{kind} {field_name}"
            diagram.lines.append(f"        {line}")
            diagram.texts.append(line)
        diagram.lines.append("    }")
    edges = []
    for tail, head in pairwise(names):
        diagram.lines.append(f"    {tail} {rng.choice(('<|--', '-->', 'o--', '*--', '..>'))} {head}")
        edges.append((tail, head))
    diagram.edges = edges
    return diagram


def _entities(rng: random.Random) -> MermaidDiagram:
    names = [name.upper() for name in rng.sample(list(CLASSES), rng.randint(2, 4))]
    diagram = MermaidDiagram(["erDiagram"], list(names), [], directed=False)
    edges = []
    rows = ["From,To,Relation"]
    for tail, head in pairwise(names):
        relation = rng.choice([name for name in RELATIONS if " " not in name])
        diagram.lines.append(f"    {tail} {rng.choice(_CARDINALITIES)} {head} : {relation}")
        diagram.texts.append(relation)
        edges.append((tail, head))
        rows.append(f"{tail},{head},{relation}")
    diagram.edges, diagram.table = edges, "\n".join(rows)
    return diagram


def _mindmap(rng: random.Random) -> MermaidDiagram:
    root = rng.choice(list(IDEAS))
    branches = rng.sample(IDEAS[root], rng.randint(3, min(5, len(IDEAS[root]))))
    details = iter(rng.sample(DETAILS, len(DETAILS)))
    diagram = MermaidDiagram(["mindmap", f"  root(({root}))"], [root])
    for branch in branches:
        diagram.lines.append(f"    {branch}")
        diagram.texts.append(branch)
        for _ in range(rng.randint(0, 3)):
            if detail := next(details, ""):
                diagram.lines.append(f"      {detail}")
                diagram.texts.append(detail)
    return diagram


def _timeline(rng: random.Random) -> MermaidDiagram:
    title = f"History of the {rng.choice(MODULES).capitalize()} team"
    diagram = MermaidDiagram(["timeline", f"    title {title}"], [title])
    year = rng.randint(1960, 2012)
    rows = ["Year,Event"]
    for event in rng.sample(_MILESTONES, rng.randint(3, 5)):
        diagram.lines.append(f"    {year} : {event}")
        diagram.texts += [str(year), event]
        rows.append(f"{year},{event}")
        year += rng.randint(1, 6)
    diagram.table = "\n".join(rows)
    return diagram


def _tiers(rng: random.Random) -> MermaidDiagram:
    """Groups of a system, with lines from each to the next."""
    diagram = MermaidDiagram([f"flowchart {rng.choice(('TB', 'LR'))}"], [], [])
    chosen: list[list[str]] = []
    for number, (title, members) in enumerate(TIERS):
        names = rng.sample(members, rng.randint(1, 3))
        diagram.lines.append(f"    subgraph G{number}[{title}]")
        diagram.texts.append(title)
        ids = []
        for place, name in enumerate(names):
            ids.append(f"g{number}{chr(ord('a') + place)}")
            diagram.lines.append(f"        {ids[-1]}[{name}]")
            diagram.texts.append(name)
        diagram.lines.append("    end")
        chosen.append(ids)
    edges = []
    for before, after in pairwise(chosen):
        for tail in before:
            edge = (tail, rng.choice(after))
            diagram.lines.append(f"    {edge[0]} --> {edge[1]}")
            edges.append(edge)
    diagram.edges = edges
    return diagram


MERMAID_DIAGRAMS: dict[str, Callable[[random.Random], MermaidDiagram]] = {
    "flowchart": _flowchart,
    "sequence": _sequence,
    "states": _states,
    "classes": _classes,
    "entities": _entities,
    "mindmap": _mindmap,
    "timeline": _timeline,
    "tiers": _tiers,
}
