"""The words of this project: docs/words.md lists the retired ones, and no file uses them."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXEMPT_FILES = {"CHANGELOG.md", "docs/words.md", "requirements.lock", "tests/test_words.py"}
EXEMPT_FOLDERS = re.compile(r"^data/(samples|step3vl/data/assets)/|/vendor/")  # inputs and libraries that others wrote
# Wordings of questions, in the language of people; what is named as TikZ, schemdraw, RDKit and Verovio name it.
EXEMPT_MODULES = re.compile(
    r"(_questions|_phrasings|documents/questions)\.py$|/vqa_questions/|/(test_)?(tikz|tikz_kinds|circuits|circuit_kinds|molecules|music)\.py$"
)
EXEMPT_LINE = re.compile(r"# words: \S")
SPAN = re.compile(r"`([^`]+)`")


def _section(title: str) -> str:
    page = (ROOT / "docs/words.md").read_text(encoding="utf-8")
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _retired_words() -> list[str]:
    rows = [line.split("|") for line in _section("Retired words").splitlines() if line.startswith("| ")]
    return [word for row in rows for word in SPAN.findall(row[2])]


def _ignored_phrases() -> list[str]:
    return SPAN.findall(_section("Retired words").split("These phrases are not meant")[1].split(". A line")[0])


def _retired_names(paragraph: int) -> set[str]:
    return set(SPAN.findall(_section("Retired names").strip().split("\n\n")[paragraph].split(". ")[0]))


def _word_pattern(phrase: str) -> str:
    """A phrase in any case, across line ends, comment signs and underscores; a `snake_case` name exactly."""
    if "_" in phrase:
        return rf"\b{phrase}\b"
    words = r"[\s#*>_-]+".join(re.escape(word) for word in phrase.split())
    return rf"(?<![A-Za-z])(?i:{words})(?![a-z])"


def _phrase_pattern(phrase: str) -> str:
    if re.search(r"[^\w ]", phrase) or not phrase.islower():
        return rf"(?<![A-Za-z])(?<!def ){re.escape(phrase)}"
    return rf"(?i:{r'[^A-Za-z0-9]*'.join(re.escape(word) for word in phrase.split())})"


WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # also those inside `snake_case` and `CamelCase`
RETIRED_WORDS = {word for word in _retired_words() if word.isalpha()}
RETIRED_PHRASES = re.compile("|".join(_word_pattern(phrase) for phrase in _retired_words() if not phrase.isalpha()))
IGNORED = re.compile("|".join(_phrase_pattern(phrase) for phrase in sorted(_ignored_phrases(), key=len, reverse=True)))


@cache
def _files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    chosen = [name for name in listed if name not in EXEMPT_FILES and not EXEMPT_FOLDERS.search(name)]
    chosen = [name for name in chosen if not EXEMPT_MODULES.search(name)]
    return sorted({name for name in chosen if (ROOT / name).is_file()})


@cache
def _text(name: str) -> str | None:
    try:
        return (ROOT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


@cache
def _parse(text: str) -> ast.AST:
    try:
        return ast.parse(text)
    except SyntaxError:  # the linter's business
        return ast.Module([], [])


def _exempt_lines(name: str, text: str) -> set[int]:
    lines = {number for number, line in enumerate(text.splitlines(), 1) if EXEMPT_LINE.search(line)}
    if name.endswith(".py") and "RENAMED" in text:
        for node in ast.walk(_parse(text)):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == "RENAMED" for target in targets):
                lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _words(name: str, text: str) -> Iterator[str]:
    """`file:line: word` for each retired word of a text."""
    exempt = _exempt_lines(name, text)
    for start, word in _matches(text):
        line = text.count("\n", 0, start) + 1
        if line not in exempt:
            yield f"{name}:{line}: {word}"


def _matches(text: str) -> Iterator[tuple[int, str]]:
    """The retired words of a text, each with where it begins."""
    text = IGNORED.sub(lambda match: "." * len(match.group()), text)
    for match in WORD.finditer(text):
        if match.group().lower() in RETIRED_WORDS:
            yield match.start(), match.group()
    for match in RETIRED_PHRASES.finditer(text):
        yield match.start(), " ".join(match.group().split())


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that Python code binds, with its line: variables, parameters, fields, attributes, keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.value.lineno, node.arg
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.lineno, node.name


def _python() -> list[tuple[str, str]]:
    return [(name, _text(name) or "") for name in _files() if name.endswith(".py")]


@pytest.mark.parametrize(
    "text",
    [
        "a picture",
        "draw_lines",
        "DrawScenes",
        "renderPictures",
        "Goes on",
        "goes\n# on",
        "THOUGHTS",
        "'made_of'",
        "dies of",
    ],
)
def test_finds_a_retired_word_wherever_it_stands(text: str) -> None:
    assert list(_words("page.md", text))


@pytest.mark.parametrize(
    "text",
    [
        "picturesque",
        "withdraw",
        "ImageDraw.Draw(image)",
        "data.draw(words)",
        "DeadLetterWriter",
        "dead_letters",
        "recommend",
        "list made of integers",
        "goes one",
        "thoughtful",
        "ascii_letters",
    ],
)
def test_leaves_other_words_alone(text: str) -> None:
    assert not list(_words("page.md", text))


def test_no_file_uses_a_retired_word() -> None:
    hits = [hit for name in _files() if (text := _text(name)) is not None for hit in _words(name, text)]
    hits += [f"{name}: the file's name: {word}" for name in _files() for _, word in _matches(name)]
    assert not hits, f"{len(hits)} retired words; docs/words.md has the ones to use:\n" + "\n".join(hits)


def test_no_python_name_is_a_retired_one() -> None:
    retired = _retired_names(0)
    hits = []
    for name, text in _python():
        exempt = _exempt_lines(name, text)
        hits += [
            f"{name}:{line}: {word}" for line, word in _names(_parse(text)) if word in retired and line not in exempt
        ]
    assert not hits, f"{len(hits)} retired names:\n" + "\n".join(hits)


def test_no_class_or_module_has_a_retired_name() -> None:
    retired = _retired_names(1)
    hits = [name for name in _files() if name.endswith(".py") and Path(name).stem in retired]
    for name, text in _python():
        classes = [node for node in ast.walk(_parse(text)) if isinstance(node, ast.ClassDef)]
        hits += [f"{name}:{node.lineno}: class {node.name}" for node in classes if node.name in retired]
    assert not hits, "\n".join(hits)
