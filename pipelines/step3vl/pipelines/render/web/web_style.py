"""Random style sheets for documents: fonts, colours, headings, tables, listings, columns."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.colours import contrast, mix
from step3vl.pipelines.render.fonts import FontFamily

TableLines = Literal["all", "rows", "booktabs", "outer", "stripes"]

_LIGHT = ("#ffffff", "#ffffff", "#ffffff", "#fdfdfb", "#fbf7ef", "#f6f8fa", "#f4f1ea", "#eef3f7", "#fffdf5", "#f7f7f7")
_DARK = ("#0d1117", "#1e1e1e", "#202124", "#12202e", "#2b2b2b", "#1a1b26")
_INKS = ("#000000", "#111111", "#24292f", "#222222", "#2d2d2d", "#1b1f3b", "#2b1d0e", "#333333")
_PALE_INKS = ("#ffffff", "#e6edf3", "#dddddd", "#d4d4d4", "#e8e6e3", "#cfe3f7")
_ACCENTS = (
    "#0969da",
    "#0b57d0",
    "#a5270d",
    "#1a7f37",
    "#6f42c1",
    "#7d2c5b",
    "#8a5300",
    "#005f73",
    "#9b2226",
    "#3d405b",
)
_PALE_ACCENTS = ("#4493f8", "#7ee787", "#f2cc60", "#ffa198", "#d2a8ff", "#79c0ff", "#f0a868")
_LEAST_X_HEIGHT = 6.5  # pixels of a small letter
_LEAST_CONTRAST = 4.5  # of text, as WCAG 2.1 asks of body text


@dataclass(frozen=True)
class WebStyle:
    """A style sheet.

    Attributes:
        css: The rules, all but those that depend on the document.
        families: The private names of the fonts.
        fonts: Their names, for the record.
        columns: Of text.
        traits: What was chosen, for the record.
    """

    css: str
    families: tuple[str, ...]
    fonts: tuple[str, ...]
    columns: int
    traits: dict[str, str]


def pick_fonts(families: Sequence[FontFamily], text: str, code: str, rng: random.Random) -> list[FontFamily]:
    """Fonts that have all characters: one for the text, one for what it lacks if need be, one for code.

    Args:
        families: To choose from.
        text: All text that is no code.
        code: The text of code.
        rng: Random numbers.

    Returns:
        The fonts of text, then that of code if there is code.

    Raises:
        Dropped: No two of the fonts have all characters.
    """
    characters = "".join(sorted({c for c in text if not c.isspace()}))
    ascii_only = "".join(c for c in characters if c.isascii())
    alike = [family for family in families if not is_mono(family)]
    first = [family for family in alike if family.covers(ascii_only)]
    whole = [family for family in first if family.covers(characters)]
    if whole:
        chosen = [rng.choice(whole)]
    else:
        pairs = [(a, b) for a in first for b in alike if a is not b and b.covers(_lacking(a, characters))]
        if not pairs:
            raise Dropped("no_font_has_all_characters")
        chosen = list(rng.choice(pairs))
    if code:
        needed = "".join(sorted({c for c in code if not c.isspace()}))
        mono = [family for family in families if is_mono(family)]
        fitting = [family for family in mono if family.covers(needed)]
        if not fitting:
            fitting = [
                family
                for family in mono
                if all(any(other.covers(c) for other in chosen) for c in _lacking(family, needed))
            ]
        if not fitting:
            raise Dropped("no_font_has_all_characters")
        chosen.append(rng.choice(fitting))
    return chosen


def is_mono(family: FontFamily) -> bool:
    """Whether all its letters are equally wide."""
    return family.width("iiii", 100) == family.width("MMMM", 100)


def _lacking(family: FontFamily, text: str) -> str:
    return "".join(c for c in text if not family.covers(c))


def pick_web_style(
    fonts: Sequence[FontFamily], has_code: bool, merged: bool, fit: bool, rng: random.Random
) -> WebStyle:
    """A random style.

    Args:
        fonts: As `pick_fonts` returns them.
        has_code: Whether the last font is that of code.
        merged: Whether cells of tables are merged, so that lines must be between cells.
        fit: Whether the document is a single table, whose page is made as narrow as it.
        rng: Random numbers.
    """
    text_fonts = list(fonts[:-1] if has_code else fonts)
    stack = ", ".join(f'"{font.private}"' for font in text_fonts)
    mono = f'"{fonts[-1].private}", {stack}' if has_code else stack
    dark = rng.random() < 0.14
    paper, ink, accent = rng.choice(_DARK if dark else _LIGHT), "", ""
    while contrast(paper, ink or paper) < 7:
        ink = rng.choice(_PALE_INKS if dark else _INKS)
    while contrast(paper, accent or paper) < _LEAST_CONTRAST:
        accent = rng.choice(_PALE_ACCENTS if dark else _ACCENTS)
    size = max(rng.randint(13, 20), _least_size(text_fonts[0]))
    columns = 2 if not fit and rng.random() < 0.12 else 1
    lines: TableLines = "all" if merged else rng.choice(("all", "all", "rows", "booktabs", "outer", "stripes"))
    rules = [
        "* { box-sizing: border-box; } html { margin: 0; }",
        f"body {{ margin: 0; padding: {rng.randint(8, 48)}px {rng.randint(10, 56)}px; background: {paper}; "
        f"color: {ink}; font: {size}px/{rng.uniform(1.25, 1.75):.2f} {stack}; "
        f"{'display: inline-block;' if fit else ''} }}",
        *_block_rules(ink, accent, paper, mono, rng),
        *_table_rules(ink, accent, paper, dark, lines, fit, rng),
    ]
    if columns == 2:
        rule = rng.choice(("none", f"1px solid {mix(ink, paper, 0.3)}"))
        rules.append(f"main {{ column-count: 2; column-gap: {rng.randint(22, 44)}px; column-rule: {rule}; }}")
    names = tuple(font.name for font in fonts)
    traits = {
        "theme": "dark" if dark else "light",
        "layout": "table" if fit else f"{columns}_column",
        "table_lines": lines,
    }
    return WebStyle("\n".join(rules), tuple(font.private for font in fonts), names, columns, traits)


def _block_rules(ink: str, accent: str, paper: str, mono: str, rng: random.Random) -> list[str]:
    gap = rng.uniform(0.5, 1.1)
    coloured = rng.random() < 0.35
    centred = rng.random() < 0.12
    ratio = rng.uniform(1.12, 1.3)
    justified = rng.random() < 0.2
    indent = rng.choice((0, 0, 0, 1.4))
    rules = [
        "main > :first-child { margin-top: 0; } main > :last-child { margin-bottom: 0; }",
        f"p, ul, ol, dl, blockquote, pre, table {{ margin: {gap:.2f}em 0; }}",
        f"p {{ text-align: {'justify' if justified else 'left'}; text-indent: {indent}em; }}",
        "li p, td p, blockquote p, dd p { text-indent: 0; }",
        f"ul, ol {{ padding-left: {rng.uniform(1.5, 2.6):.1f}em; }} li {{ margin: {rng.uniform(0, 0.4):.2f}em 0; }}",
        f"ul {{ list-style-type: {rng.choice(('disc', 'disc', 'square', 'circle'))}; }}",
        "li > ul, li > ol { margin: 0.1em 0; } dt { font-weight: bold; } dd { margin: 0 0 0.4em 2em; }",
        f"h1, h2, h3, h4, h5, h6 {{ margin: {rng.uniform(1, 1.6):.2f}em 0 {rng.uniform(0.3, 0.7):.2f}em; "
        f"line-height: 1.25; color: {accent if coloured else ink}; break-after: avoid; }}",
        f"h1 {{ text-align: {'center' if centred else 'left'}; }}",
        f"a {{ color: {accent}; text-decoration: {rng.choice(('none', 'underline'))}; }}",
        f".address {{ color: {mix(ink, paper, 0.75)}; font-size: 0.9em; }}",
        f"hr {{ border: 0; border-top: {rng.randint(1, 3)}px solid {mix(ink, paper, 0.35)}; margin: 1.2em 0; }}",
        "del { text-decoration: line-through; } sub, sup { line-height: 0; font-size: 0.72em; }",
    ]
    for level in range(1, 7):
        rules.append(f"h{level} {{ font-size: {max(0.95, ratio ** (5 - level)):.2f}em; }}")
    for level in range(1, 3):
        if rng.random() < 0.3:
            rules.append(f"h{level} {{ border-bottom: 1px solid {mix(ink, paper, 0.3)}; padding-bottom: 0.25em; }}")
    shade = mix(ink, paper, rng.uniform(0.04, 0.1))
    border = rng.choice(("none", f"1px solid {mix(ink, paper, 0.25)}"))
    rules += [
        f"pre, code {{ font-family: {mono}; font-size: {rng.uniform(0.82, 0.95):.2f}em; }}",
        f"pre {{ background: {shade}; border: {border}; border-radius: {rng.choice((0, 0, 4, 8))}px; "
        f"padding: {rng.uniform(0.4, 1):.1f}em; line-height: {rng.uniform(1.2, 1.5):.2f}; white-space: pre; }}",
        "pre code { font-size: 1em; background: none; padding: 0; border: 0; }",
        f"code {{ background: {shade}; border-radius: 3px; padding: 0.1em 0.25em; }}",
        f"blockquote {{ border-left: {rng.randint(2, 5)}px solid {mix(accent, paper, 0.6)}; margin-left: 0; "
        f"padding: 0.1em 0 0.1em 1em; color: {mix(ink, paper, 0.85)}; }}",
        f".image {{ display: inline-block; border: 1px {rng.choice(('solid', 'dashed'))} {mix(ink, paper, 0.4)}; "
        f"background: {mix(ink, paper, 0.06)}; padding: {rng.uniform(0.2, 1.4):.1f}em 0.8em; }}",
    ]
    return rules


def _table_rules(
    ink: str, accent: str, paper: str, dark: bool, lines: TableLines, fit: bool, rng: random.Random
) -> list[str]:
    stroke = rng.choice(("solid", "solid", "dotted"))
    line = f"{rng.choice((1, 1, 1, 2))}px {stroke} {mix(ink, paper, rng.uniform(0.3, 0.9))}"
    side = rng.choice(("left", "left", "center"))
    across, down = rng.uniform(0.35, 1.0), rng.uniform(0.15, 0.55)
    rules = [
        f"table {{ border-collapse: collapse; font-size: {rng.uniform(0.88, 1):.2f}em; "
        f"{'margin-left: auto; margin-right: auto;' if rng.random() < 0.2 else ''} "
        f"{'width: 100%;' if rng.random() < 0.25 and not fit else ''} }}",
        f"td, th {{ padding: {down:.2f}em {across:.2f}em; text-align: {side}; "
        f"vertical-align: {rng.choice(('top', 'middle'))}; }}",
        f"th {{ font-weight: bold; text-align: {rng.choice((side, 'center'))}; }}",
        f"caption {{ caption-side: {rng.choice(('top', 'top', 'bottom'))}; padding: 0.4em; "
        f"font-weight: {rng.choice(('normal', 'bold'))}; }}",
    ]
    if side == "left" and rng.random() < 0.4:
        rules.append("td:not(:first-child) { text-align: right; }")
    if lines == "all":
        rules.append(f"td, th {{ border: {line}; }}")
    elif lines in ("rows", "stripes"):
        rules.append(f"tr {{ border-bottom: {line}; }}")
    elif lines == "booktabs":
        rules.append(
            f"table {{ border-top: 2px solid {ink}; border-bottom: 2px solid {ink}; }} "
            f"thead {{ border-bottom: 1px solid {ink}; }}"
        )
    else:
        rules.append(f"table {{ border: {line}; }}")
    if lines == "stripes" or rng.random() < 0.2:
        rules.append(f"tbody tr:nth-child(even) {{ background: {mix(ink, paper, 0.06)}; }}")
    head = rng.random()
    if head < 0.35:
        rules.append(f"th {{ background: {mix(ink, paper, rng.uniform(0.05, 0.16))}; }}")
    elif head < 0.5 and not dark and contrast(accent, "#ffffff") > _LEAST_CONTRAST:
        rules.append(f"thead th {{ background: {accent}; color: #ffffff; }}")
    return rules


def _least_size(font: FontFamily) -> int:
    """The size at which small letters are high enough to be read."""
    _, top, _, bottom = font.regular.at(100).getbbox("x")
    return round(_LEAST_X_HEIGHT * 100 / max(1.0, bottom - top))
