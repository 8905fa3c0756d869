"""Tables as Typst and LaTeX sources: rules, stripes, alignments, merged headers."""

import random
from dataclasses import dataclass

from step3vl.pipelines.render.figures.typeset import escape_latex, escape_typst, table_cells
from step3vl.pipelines.sources.tables.tables import Table

RULES = ("all", "horizontal", "booktabs", "stripes", "none")


@dataclass(frozen=True)
class TableSource:
    """A table in two notations.

    Attributes:
        family: Rules, and whether the header is merged.
        typst: A whole document, which is what is rendered.
        latex: A `tabular` environment that means the same.
        cells: Texts of its rows, a merged one once.
    """

    family: str
    typst: str
    latex: str
    cells: list[list[str]]


def page_setup(font: str, size: int, fill: str, ink: str, margin: int) -> str:
    """The first lines of a document whose page is as large as what is on it."""
    return (
        f'#set page(width: auto, height: auto, margin: {margin}pt, fill: rgb("{fill}"))\n'
        f'#set text(font: "{font}", size: {size}pt, fill: rgb("{ink}"))\n'
    )


def write_table(table: Table, setup: str, rng: random.Random) -> TableSource:
    """A table with random rules.

    Args:
        table: What it says.
        setup: The document's first lines.
        rng: Random numbers.
    """
    cells = table_cells(table)
    columns = len(cells[0])
    rules = rng.choice(RULES)
    merged = columns > 2 and rng.random() < 0.4
    bold = rng.random() < 0.5
    align = ["left", *[rng.choice(("right", "right", "center"))] * (columns - 1)]
    head, *body = cells
    rows = [f"  {_typst_row(row)}," for row in body]
    header = [f"  table.header({_typst_row(head, bold)}),"]
    if merged:
        top = f"[], table.cell(colspan: {columns - 1}, align: center){_bracket(table.measure, bold)}"
        header = ["  table.header(", f"    {top},", f"    {_typst_row(head, bold)},", "  ),"]
    lines = [
        "#table(",
        f"  columns: {columns},",
        f"  align: ({', '.join(align)}),",
        "  inset: (x: 8pt, y: 6pt),",
        *_typst_rules(rules, len(body), 2 if merged else 1, header, rows),
        ")",
    ]
    texts = [[table.measure], *cells] if merged else cells
    family = f"{rules}{'_merged' if merged else ''}"
    return TableSource(
        family, setup + "\n".join(lines) + "\n", _latex(table, cells, rules, merged, bold, align), texts
    )


def _bracket(text: str, bold: bool = False) -> str:
    return f"[*{escape_typst(text)}*]" if bold else f"[{escape_typst(text)}]"


def _typst_row(row: list[str], bold: bool = False) -> str:
    return ", ".join(_bracket(cell, bold) for cell in row)


def _typst_rules(rules: str, body: int, headers: int, header: list[str], rows: list[str]) -> list[str]:
    if rules == "all":
        return ["  stroke: 0.5pt,", *header, *rows]
    if rules == "horizontal":
        return ["  stroke: (x: none, y: 0.5pt),", *header, *rows]
    if rules == "booktabs":
        line = "  table.hline({}),"
        return ["  stroke: none,", line.format("stroke: 1pt"), *header, line.format("stroke: 0.5pt"), *rows,
                line.format("stroke: 1pt")]  # fmt: skip
    if rules == "stripes":
        return [
            "  stroke: none,",
            f"  fill: (_, y) => if y >= {headers} and calc.odd(y) {{ luma(225) }},",
            *header,
            *rows,
        ]
    return ["  stroke: none,", *header, *rows]


def _latex(table: Table, cells: list[list[str]], rules: str, merged: bool, bold: bool, align: list[str]) -> str:
    bar = "|" if rules == "all" else ""
    columns = bar + bar.join({"left": "l", "right": "r", "center": "c"}[place] for place in align) + bar
    hline = {"all": r"\hline", "horizontal": r"\hline"}.get(rules, "")
    lines = [rf"\begin{{tabular}}{{{columns}}}"]
    lines.append(r"\toprule" if rules == "booktabs" else hline)
    if merged:
        name = _latex_cell(table.measure, bold)
        lines.append(rf" & \multicolumn{{{len(align) - 1}}}{{{bar}c{bar}}}{{{name}}} \\")
        lines.append(hline)
    for i, row in enumerate(cells):
        lines.append(" & ".join(_latex_cell(cell, bold and i == 0) for cell in row) + r" \\")
        lines.append(r"\midrule" if rules == "booktabs" and i == 0 else hline)
    lines.append(r"\bottomrule" if rules == "booktabs" else "")
    lines.append(r"\end{tabular}")
    return "\n".join(line for line in lines if line) + "\n"


def _latex_cell(text: str, bold: bool) -> str:
    return rf"\textbf{{{escape_latex(text)}}}" if bold else escape_latex(text)


def parse_latex(source: str) -> list[list[str]]:
    """The cells of a `tabular` as plain texts, a merged one once, an empty corner left out.

    Args:
        source: As `write_table` writes it: no nested braces but those of the commands that it uses.
    """
    body = source.partition("\n")[2].rpartition(r"\end{tabular}")[0]
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\hline"):
        body = body.replace(rule, "")
    rows = [row.strip() for row in body.split(r" \\")]
    return [[_plain(cell) for cell in row.replace(r"\&", "\0").split("&") if cell.strip()] for row in rows if row]


def _plain(cell: str) -> str:
    text = cell.strip()
    if text.startswith(r"\multicolumn"):
        text = text.split("{", 3)[3].removesuffix("}")
    if text.startswith(r"\textbf{"):
        text = text[len(r"\textbf{") :].removesuffix("}")
    for escaped, character in ((r"\textbackslash{}", "\\"), (r"\textasciitilde{}", "~"), (r"\textasciicircum{}", "^")):
        text = text.replace(escaped, character)
    for character in "%$#_{}":
        text = text.replace("\\" + character, character)
    return text.replace("\0", "&")
