"""Tables of Markdown as HTML, by OmniDocBench's rule.

The rule turns every row into a table and joins what follows each other. It drops the line of a cell that has a colon
or three hyphens in it, and the line of text just above a table; scores are comparable only where this is done as well.
"""

import re

_ROW = re.compile(r"\|\s*.*?\s*\|\n", re.DOTALL)
_RULE = re.compile(r":|---")
_FRAME = re.compile(r"</?t(able|head|body)>")
_TABLE = re.compile(r"<table>[\s\S]*?</table>")
_COMMENT = re.compile(r"<!--[\s\S]*?-->")


def has_tables(content: str) -> bool:
    """Whether a page has two rows of a table or more."""
    return len(_ROW.findall(f"{content}\n")) >= 2


def tables_to_html(content: str) -> str:
    """The page with its Markdown tables as HTML."""
    content = content.replace("\r", "") + "\n"
    for row in _ROW.findall(content):
        content = content.replace(row, _row_to_html(row), 1)
    content = _join_tables(content)
    return content.replace("<table>", '<table border="1" >').replace("<td>", '<td colspan="1" rowspan="1">')


def _row_to_html(source: str) -> str:
    rows = [[cell.strip() for cell in line.strip().split("|")[1:-1]] for line in source.strip().split("\n")]
    lines = ["<table>", "  <thead>", "    <tr>", *(f"      <th>{cell}</th>" for cell in rows[0])]
    lines += ["    </tr>", "  </thead>", "  <tbody>"]
    for row in rows[2:]:
        lines += ["    <tr>", *(f"      <td>{cell}</td>" for cell in row), "    </tr>"]
    return "\n".join([*lines, "  </tbody>", "</table>", ""])


def _join_tables(content: str) -> str:
    lines: list[str] = []
    table, inside, before = "", False, ""
    for line in content.split("\n"):
        if "<table>" in line:
            inside = True
            table += before
        elif inside:
            if not _RULE.search(before) and "</thead>" not in before:
                table += f"\n{before}"
            if "</table>" in before:
                inside = False
                lines.append(_joined(table))
                table = ""
        else:
            lines.append(before)
        before = line
    if before and (inside or "</table>" in before):
        lines.append(_joined(f"{table}\n{before}"))
    elif before:
        lines.append(before)
    return "\n".join(lines)


def _joined(source: str) -> str:
    """The rows of all tables of a source in one table; those without a cell are left out."""
    rows: list[str] = []
    for table in _TABLE.findall(_COMMENT.sub("", source)):
        lines = table.split("\n")
        lines = [line.replace("<th>", "<td>").replace("</th>", "</td>") if "<th>" in line else line for line in lines]
        lines = [line for line in lines if not _FRAME.search(line)]
        if len(lines) > 2:
            rows += lines
    return "\n\n<table>\n{}\n</table>\n\n".format("\n".join(rows))
