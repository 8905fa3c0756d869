"""Tables and formulas of LaTeX sources, each so that it can be compiled alone and shows all that its code says.

Macros of the source are expanded, labels go, and references and citations become the numbers that a reader would see.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*\n?[ \t]*")
_VERBATIM = re.compile(
    r"\\begin\{(verbatim\*?|Verbatim|lstlisting|minted|comment|alltt|LTXexample|example|codeexample|filecontents\*?"
    r"|macrocode|dispExample\*?|tcblisting|SourceCode|code|sourcecode|texcode|latexcode)\}"
)
_VERB = re.compile(r"\\(?:verb|lstinline|mintinline)\*?([^\w\s{])[^\n]*?\1")
_TABLE = re.compile(r"\\begin\{(tabular)\}")
# A body never has another beginning in it, so that one without an end costs no search through the rest of a file.
_FORMULA = re.compile(
    r"\\begin\{(equation\*?|displaymath|align\*?|gather\*?|eqnarray\*?|alignat\*?)\}"
    r"((?:(?!\\begin\{(?:equation|displaymath|align|gather|eqnarray)).)*?)\\end\{\1\}"
    r"|\\\[((?:(?!\\\[).)*?)\\\]|(?<!\\)\$\$([^$]+?)(?<!\\)\$\$|\\\(((?:(?!\\\().)*?)\\\)"
    r"|(?<![\\$])\$(?!\$)([^$]{4,400}?)(?<!\\)\$",
    re.DOTALL,
)
_NEW = re.compile(
    r"\\(?:re)?newcommand\*?\s*\{?\s*\\([A-Za-z]+)\s*\}?\s*(?:\[(\d)\])?\s*(\[)?|\\def\s*\\([A-Za-z]+)((?:#\d)*)\s*(?=\{)"
)
_OPERATOR = re.compile(r"\\DeclareMathOperator(\*?)\s*\{?\s*\\([A-Za-z]+)\s*\}?\s*\{([^{}]*)\}")
_LABEL = re.compile(r"\\label\s*\{([^{}]*)\}")
_REF = re.compile(r"~?\\(ref|eqref|cref|Cref|autoref|vref)\*?\s*\{([^{}]*)\}")
_CITE = re.compile(
    r"(~?)\\(?:cite|citep|citet|parencite|textcite|autocite)\*?\s*(?:\[[^\]]{0,200}\]){0,2}\s*\{([^{}]*)\}"
)
_INVISIBLE = re.compile(
    r"\\(?:nonumber|notag|centering|raggedright|small|footnotesize|scriptsize|tiny|normalsize|large|Large|noindent"
    r"|index\s*\{[^{}]*\}|allowbreak|nobreak|displaystyle(?![a-zA-Z])(?=\s*$))(?![a-zA-Z])"
)
# What writes files, shows no text of its own, depends on the page, or means something else where a document says so.
_UNWANTED = re.compile(
    r"\\(?:include|includegraphics|input|write|openin|openout|read|special|catcode|csname|newcommand|def|let|newif|verb"
    r"|footnote|footnotemark|footnotetext|marginpar|tikz|psfig|epsf|rotatebox|resizebox|scalebox|adjustbox|shipout|output"
    r"|directlua|pdf[a-z]+|hyper[a-z]+|href|url|phantom|hphantom|vphantom|color|textcolor|gdef|edef|xdef|item|tag|intertext"
    r"|caption|begin\{(?:tikzpicture|picture"  # words: a LaTeX environment
    r"|minipage|figure|table|itemize|enumerate|multline|pspicture|lstlisting)\*?\})"
    r"(?![a-zA-Z])|@[a-zA-Z]+(?=\\)|\\begin\{tabular.*\\begin\{tabular|\x00|\^\^",
    re.DOTALL,
)
_MAX_CODE = 2500  # characters
_MAX_MACRO = 400
_PASSES = 8
_IN_TEXT = re.compile(
    r"\\[A-Za-z]*(?:text|mbox|hbox|rm|operatorname|mathit|mathsf|mathbf|begin|end)[a-z]*\*?\s*\{[^{}]*\}|\\[A-Za-z]+"
)
_WORD = re.compile(r"[A-Za-z]{4,}|\||/[^ ]*/|=~")  # no product of variables; a verbatim text
_NAMED = re.compile(r"\\([A-Za-z]+)")


@dataclass(frozen=True)
class Macro:
    """A command of the source.

    Attributes:
        arguments: How many it takes.
        body: With `#1`, `#2`, ...
    """

    arguments: int
    body: str


class LatexDocument(NamedTuple):
    """What a source holds that can be compiled alone."""

    tables: list[str]
    formulas: list[str]
    removed: Counter[str]


def read_latex(text: str) -> LatexDocument:
    """The tables (`tabular`) and formulas of a source, each once, in order."""
    text = _VERB.sub("", _without_verbatim(text.replace("\r\n", "\n").replace("\r", "\n")))
    text = _COMMENT.sub(r"\1", text)
    macros, removed = _macros(text), Counter[str]()
    labels = {name: str(number) for number, name in enumerate(dict.fromkeys(_LABEL.findall(text)), 1)}
    keys = [key.strip() for match in _CITE.finditer(text) for key in match[2].split(",")]
    cited = {key: str(number) for number, key in enumerate(dict.fromkeys(keys), 1)}
    snippets: dict[str, list[str]] = {"table": [], "formula": []}
    for kind, code in [*(("table", t) for t in _tables(text, removed)), *(("formula", f) for f in _formulas(text))]:
        reason, snippet = _resolve(code, macros, labels, cited)
        if not reason:
            snippet = _tidy_table(snippet) if kind == "table" else _tidy_formula(snippet)
            reason = _table_fault(snippet) if kind == "table" else _formula_fault(snippet)
        if reason:
            removed[reason] += 1
        else:
            snippets[kind].append(snippet)
    return LatexDocument(list(dict.fromkeys(snippets["table"])), list(dict.fromkeys(snippets["formula"])), removed)


def _without_verbatim(text: str) -> str:
    """A source without what it shows as it stands."""
    parts, place = [], 0
    for match in _VERBATIM.finditer(text):
        if match.start() < place:
            continue
        end = text.find(f"\\end{{{match[1]}}}", match.end())
        parts.append(text[place : match.start()])
        place = len(text) if end < 0 else end + len(match[1]) + 6
    return "".join([*parts, text[place:]])


def _macros(text: str) -> dict[str, Macro]:
    macros: dict[str, Macro] = {}
    for match in _NEW.finditer(text):
        name, end = match[1] or match[4], match.end()
        if match[3]:  # a default argument
            continue
        count = int(match[2] or 0) if match[1] else (match[5] or "").count("#")
        body = _group(text, end, _MAX_MACRO)
        if body is not None and f"\\{name}" not in body:
            macros[name] = Macro(count, body)
    for match in _OPERATOR.finditer(text):
        macros[match[2]] = Macro(0, rf"\operatorname{match[1]}{{{match[3]}}}")
    return macros


def _group(text: str, start: int, most: int = _MAX_CODE) -> str | None:
    """The content of the braces that begin at `start`, after white space; None without them, or beyond `most`."""
    while start < len(text) and text[start].isspace():
        start += 1
    if text[start : start + 1] != "{":
        return None
    depth = 0
    for place in range(start, min(len(text), start + most)):
        if text[place] == "\\":
            continue
        if text[place - 1] == "\\" and text[place - 2 : place] != "\\\\":
            continue
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[start + 1 : place]
    return None


def _tables(text: str, removed: Counter[str]) -> Iterator[str]:
    for match in _TABLE.finditer(text):
        end = text.find(r"\end{tabular}", match.end())
        if end < 0:
            return
        code = text[match.start() : end + len(r"\end{tabular}")]
        if code.count(r"\begin{tabular}") > 1:
            removed["nested_table"] += 1
        elif len(code) > 2 * _MAX_CODE:
            removed["code_too_long"] += 1
        else:
            yield code


def _formulas(text: str) -> Iterator[str]:
    for match in _FORMULA.finditer(text):
        name, body = match[1], next(group for group in match.groups()[1:] if group is not None)
        name = (name or "").rstrip("*")
        if name in ("align", "gather", "alignat", "eqnarray"):
            inner = body
            if name == "eqnarray":
                name, inner = "align", re.sub(r"&\s*(=|\\[a-z]+|<|>)\s*&", r"&\1 ", body)
            yield rf"\begin{{{name}*}}{inner}\end{{{name}*}}"
        else:
            yield body


def _resolve(code: str, macros: dict[str, Macro], labels: dict[str, str], cited: dict[str, str]) -> tuple[str, str]:
    """Why a snippet is left out, or empty, and what it says once its macros are expanded."""
    for _ in range(_PASSES):
        expanded = _expand(code, macros)
        if len(expanded) > 2 * _MAX_CODE:
            return "code_too_long", ""
        if expanded == code:
            break
        code = expanded
    else:
        return "macro_without_end", ""
    code = _LABEL.sub("", code)
    code = _REF.sub(lambda match: _number(match[1], labels.get(match[2].strip(), "")), code)
    code = _CITE.sub(lambda match: match[1] + _numbers(match[2], cited), code)
    code = _INVISIBLE.sub("", code)
    if "??" in code:
        return "reference_without_label", ""
    if unwanted := _UNWANTED.search(code):
        name = _NAMED.match(unwanted[0])
        return f"uses_{name[1]}" if name else "unwanted_code", ""
    return "", code


def _expand(code: str, macros: dict[str, Macro]) -> str:
    parts, place = [], 0
    for match in _NAMED.finditer(code):
        macro = macros.get(match[1])
        if macro is None or match.start() < place or code[max(0, match.start() - 1) : match.start()] == "\\":
            continue
        end, values = match.end(), []
        for _ in range(macro.arguments):
            value = _group(code, end)
            if value is None:
                break
            values.append(value)
            end = code.index("{", end) + len(value) + 2
        if len(values) < macro.arguments:
            continue
        body = macro.body
        for number, value in enumerate(values, 1):
            body = body.replace(f"#{number}", value)
        after = code[end : end + 1]
        gap = " " if re.search(r"\\[A-Za-z]+$", body) and after.isalpha() else ""
        parts += [code[place : match.start()], body, gap]
        place = end if macro.arguments else end + (len(code[end:]) - len(code[end:].lstrip(" ")))
    return "".join([*parts, code[place:]])


def _number(command: str, number: str) -> str:
    if not number:
        return "??"
    return f"({number})" if command == "eqref" else f" {number}" if command == "ref" else "??"


def _numbers(keys: str, cited: dict[str, str]) -> str:
    return "[" + ", ".join(cited.get(key.strip(), "??") for key in keys.split(",")) + "]"


def _tidy_table(code: str) -> str:
    """A row a line, single spaces."""
    code = re.sub(r"\\begin\{tabular\}\s*\[[a-z]\]", r"\\begin{tabular}", code)
    code = " ".join(code.split())
    code = re.sub(r"\s*\\\\(\s*\[[^\]]*\])?\s*", r" \\\\\n", code)
    code = re.sub(r"\s*(\\(?:hline|toprule|midrule|bottomrule)(?:\s*\\hline)?(?![a-zA-Z]))\s*", r"\n\1\n", code)
    code = re.sub(r"(\\begin\{tabular\}\s*(\{(?:[^{}]|\{[^{}]*\})*\}))\s*", r"\1\n", code)
    code = re.sub(r"\s*\\end\{tabular\}", r"\n\\end{tabular}", code)
    return re.sub(r"\n{2,}", "\n", code).strip()


def _tidy_formula(code: str) -> str:
    code = " ".join(code.split())
    code = re.sub(r"\s*\\\\(\s*\[[^\]]*\])?\s*", r" \\\\\n", code)
    code = re.sub(r"(\\begin\{(?:align|gather)\*\})\s*", r"\1\n", code)
    code = re.sub(r"\s*(?:\\\\\s*)?(\\end\{(?:align|gather)\*\})", r"\n\1", code)
    return re.sub(r"(?<!\\)[,.;]$", "", code.strip()).strip()


def _balanced(code: str) -> bool:
    plain = re.sub(r"\\[\\{}]", "", code)
    begun = Counter(re.findall(r"\\begin\{([^{}]*)\}", code))
    ended = Counter(re.findall(r"\\end\{([^{}]*)\}", code))
    depth = 0
    for character in plain:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0 and begun == ended


def _table_fault(code: str) -> str:
    if len(code) > _MAX_CODE:
        return "code_too_long"
    if not _balanced(code):
        return "unbalanced"
    if code.count("&") < 2 or code.count(r"\\") < 1 or code.count("\n") > 60:
        return "no_table"
    body = code.partition("\n")[2]
    return "" if len(re.findall(r"[^\W_]{2,}", re.sub(r"\\[A-Za-z]+", "", body))) >= 3 else "too_little_text"


def _formula_fault(code: str) -> str:
    if len(code) > _MAX_CODE // 2:
        return "code_too_long"
    delimiters = Counter(re.findall(r"\\(left|right)(?![a-zA-Z])", code))
    if not _balanced(code) or "$" in code or delimiters["left"] != delimiters["right"]:
        return "unbalanced"
    if _WORD.search(_IN_TEXT.sub("", code)):
        return "looks_like_text"
    if len(re.sub(r"\\[A-Za-z]+|[\s{}&\\]", "", code)) < 3 or not re.search(r"[\\^_=+<>]", code):
        return "too_little_formula"
    return ""
