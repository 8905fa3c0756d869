"""LaTeX snippets as images, compiled by pdflatex as they stand on their labels: many in one run, each on a page.

Nothing that a snippet says can run a program or read or write a file outside of an empty folder, and a run has limits
of time and memory. A snippet with an error is left out; its image is cut to its ink, so nothing of it can be off the
page.
"""

import os
import random
import re
import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import ImageOps

from step3vl.data.errors import InfrastructureError
from step3vl.data.optional import require
from step3vl.pipelines.core.domain import MissingProgramError
from step3vl.pipelines.core.scratch import temporary_folder
from step3vl.pipelines.render.figures.figure import encode_png

_SECONDS = 40  # of a run
_MEMORY = 2 << 30  # bytes of a run
_FILE = 64 << 20  # bytes that a run may write
_ROUNDS = 4  # runs of a batch, each without the snippets that had errors
_MARK = "STEP3VL-SNIPPET"
_WIDTH = 1000  # points of the page: a wider snippet reaches its border and is left out
_AROUND = 4  # points around what a page shows
_INK = 200  # of a grey pixel, below which it is ink
_FONTS = {
    "Computer Modern": "",
    "Latin Modern": r"\usepackage{lmodern}",
    "Times": r"\usepackage{mathptmx}",
    "Palatino": r"\usepackage{mathpazo}",
    "Charter": r"\usepackage{charter}",
    "Bookman": r"\usepackage{bookman}",
    "Helvetica": r"\usepackage[scaled]{helvet}\renewcommand{\familydefault}{\sfdefault}",
}
_PACKAGES = (
    "amsmath", "amssymb", "mathtools", "bm", "array", "booktabs", "multirow", "textcomp", "mathrsfs", "xspace",
)  # fmt: skip
_COLOURS = (("#ffffff", "#000000"),) * 5 + (
    ("#fdfbf5", "#1a1a1a"), ("#f3f4f6", "#111827"), ("#fffdf5", "#2b1d0e"), ("#eef3f7", "#12202e"),
    ("#1e1e1e", "#e6e6e6"), ("#0d1117", "#c9d1d9"),
)  # fmt: skip
_PREAMBLE = r"""\documentclass[%dpt]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
%s
%s
\usepackage[paperwidth=%dpt,paperheight=%dpt,margin=40pt]{geometry}
\pagestyle{empty}\setlength{\parindent}{0pt}\setlength{\abovedisplayskip}{0pt}\setlength{\topskip}{0pt}
\begin{document}
"""
_ERROR = re.compile(rf"^! (.*)$|^{_MARK} (\d+)$", re.MULTILINE)


class LatexImage(NamedTuple):
    """A snippet as an image.

    Attributes:
        png: The encoded image.
        text: What a PDF reader finds on the page.
        font: The text font.
    """

    png: bytes
    text: str
    font: str


def find_pdflatex() -> str:
    """The path of the machine's pdflatex.

    Raises:
        MissingProgramError: There is none.
    """
    if path := shutil.which("pdflatex"):
        return path
    raise MissingProgramError(
        "rendering LaTeX needs pdflatex, which is not installed; install it on every worker: "
        "apt-get install texlive-latex-recommended texlive-fonts-recommended texlive-latex-extra texlive-science"
    )


class LatexPage(NamedTuple):
    """A compiled snippet.

    Attributes:
        pdf: The file.
    """

    pdf: bytes

    def png(self, resolution: int) -> bytes:
        """What it shows, as an image of so many pixels per inch."""
        document = require("pypdfium2", "pipelines").PdfDocument(self.pdf)
        try:
            page = document[0]
            dark = np.asarray(page.render(scale=1, grayscale=True).to_pil()) < _INK
            rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
            if not len(rows):
                return encode_png(page.render(scale=1, grayscale=True).to_pil())
            height, width = dark.shape
            sides = columns[0], height - 1 - rows[-1], width - 1 - columns[-1], rows[0]  # points that are cut off
            crop = tuple(max(0, int(side) - _AROUND) for side in sides)
            return encode_png(page.render(scale=resolution / 72, grayscale=True, crop=crop).to_pil())
        finally:
            document.close()


class LatexRenderer:
    """Compiles snippets. What a page looks like is random, its text is not."""

    def __init__(self) -> None:
        self._pdfium = require("pypdfium2", "pipelines")

    def render(
        self, snippets: Sequence[str], kind: Literal["table", "formula"], rng: random.Random
    ) -> list[LatexImage | str]:
        """An image of each snippet, or why there is none.

        Args:
            snippets: Bodies of `tabular` environments, or formulas without dollars.
            kind: What they are.
            rng: Random numbers, for fonts, sizes and colours.

        Raises:
            InfrastructureError: pdflatex does not start.
        """
        font = rng.choice(list(_FONTS))
        size = rng.choice((10, 11, 12))
        outcomes: list[LatexImage | str] = ["error_in_code"] * len(snippets)
        left = list(range(len(snippets)))
        for _ in range(_ROUNDS):
            if not left:
                break
            pdf, failed = self._compile([snippets[number] for number in left], kind, font, size)
            if not failed:
                images = self._images(pdf, len(left), font, rng)
                for number, image in zip(left, images, strict=True):
                    outcomes[number] = image
                break
            left = [number for place, number in enumerate(left) if place not in failed]
        return outcomes

    def page(self, snippet: str, kind: Literal["table", "formula"], font: str, size: int) -> "LatexPage | None":
        """The page of a snippet; None where it has errors.

        Args:
            snippet: Body of a `tabular` environment, or a formula without dollars.
            kind: What it is.
            font: The text font, as it is called in `LatexImage`.
            size: Of the font in points: 10, 11 or 12.

        Raises:
            InfrastructureError: pdflatex does not start.
        """
        pdf, failed = self._compile([snippet], kind, font, size)
        return None if failed or not pdf else LatexPage(pdf)

    def _compile(self, snippets: Sequence[str], kind: str, font: str, size: int) -> tuple[bytes, set[int]]:
        """The PDF of snippets, and which of them have errors."""
        packages = "\n".join(rf"\usepackage{{{name}}}" for name in _PACKAGES)
        parts = [_PREAMBLE % (size, packages, _FONTS[font], _WIDTH, _WIDTH)]
        for number, snippet in enumerate(snippets):
            parts.append(f"\\typeout{{{_MARK} {number}}}\n{_page(snippet, kind)}\n\\clearpage\n")
        parts.append(f"\\typeout{{{_MARK} {len(snippets)}}}\n\\end{{document}}\n")
        with temporary_folder("latex") as folder:
            (folder / "page.tex").write_text("".join(parts), "utf-8")
            log = self._run(folder)
            pdf = folder / "page.pdf"
            failed = _failed(log, len(snippets))
            if not pdf.exists():
                return b"", failed or set(range(len(snippets)))
            return pdf.read_bytes(), failed

    def _run(self, folder: Path) -> str:
        environment = {
            "PATH": os.environ.get("PATH", ""), "HOME": str(folder), "TEXMFVAR": str(folder / "var"),
            "openin_any": "p", "openout_any": "p", "max_print_line": "1000", "SOURCE_DATE_EPOCH": "0",
            "FORCE_SOURCE_DATE": "1",
        }  # fmt: skip
        command = [find_pdflatex(), "-no-shell-escape", "-interaction=nonstopmode", "-output-directory=.", "page.tex"]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS,
                preexec_fn=_limit, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            return (error.stdout or b"").decode("utf-8", "replace") + "\n! Time limit.\n"
        except OSError as error:
            raise InfrastructureError(f"pdflatex does not start: {error}") from error
        output = done.stdout.decode("utf-8", "replace")
        return output if done.returncode in (0, 1) else output + "\n! Ended early.\n"

    def _images(self, pdf: bytes, count: int, font: str, rng: random.Random) -> list[LatexImage | str]:
        document = self._pdfium.PdfDocument(pdf)
        try:
            if len(document) != count:
                return ["snippet_without_page"] * count
            return [self._image(document[number], font, rng) for number in range(count)]
        finally:
            document.close()

    def _image(self, page: Any, font: str, rng: random.Random) -> LatexImage | str:
        resolution, margin = rng.choice((96, 110, 120, 144)), rng.randint(4, 28)
        paper, ink = rng.choice(_COLOURS)
        scale = resolution / 72
        pixels = page.render(scale=scale, grayscale=True).to_pil()
        text: str = page.get_textpage().get_text_range()
        dark = np.asarray(pixels) < _INK
        rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
        if not len(rows):
            return "empty_image"
        top, bottom, left, right = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
        if left < 8 * scale or right > pixels.width - 8 * scale or bottom > pixels.height - 8 * scale:
            return "wider_than_page"
        if "??" in text:
            return "unresolved_reference"
        ink_only = pixels.crop((left, top, right + 1, bottom + 1))
        framed = ImageOps.expand(ink_only, margin, fill=255)
        return LatexImage(encode_png(ImageOps.colorize(framed, ink, paper)), text, font)


def _page(snippet: str, kind: str) -> str:
    if kind == "table":
        return snippet
    if snippet.startswith((r"\begin{align*}", r"\begin{gather*}", r"\begin{alignat*}")):
        return snippet
    return rf"\mbox{{$\displaystyle {snippet}$}}"  # in a box, a formula is never broken into lines


def _failed(log: str, count: int) -> set[int]:
    """The snippets with errors, by the marks that TeX prints before each."""
    failed, current = set(), -1
    for match in _ERROR.finditer(log):
        if match[2]:
            current = int(match[2])
        elif current < 0:
            raise InfrastructureError(f"pdflatex lacks something that every snippet needs: {match[1]}")
        else:
            failed.add(min(current, count - 1))
    return failed


def _limit() -> None:
    """Limits of the process that runs pdflatex."""
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE, _FILE))
