import time

import pytest

from step3vl.pipelines.sources.markup.latex import read_latex

SOURCE = r"""\documentclass{article}
\newcommand{\R}{\mathbb{R}} \newcommand{\norm}[1]{\lVert #1 \rVert} \def\half#1{\frac{#1}{2}}
\DeclareMathOperator{\rank}{rank}
\newcommand{\loop}{\loop}
\begin{document}
As in~\cite{knuth} and \cite{lamport,knuth} $x_1 \in \R^n$ % a comment with $y=1$
\begin{equation}\label{eq:one} \norm{x} \le \half{y} \nonumber \end{equation}
\begin{align} a &= b + c, \\ d &= \rank A \label{eq:two} \end{align}
\begin{verbatim}$not = this$\end{verbatim} \verb|$nor = this$|
\begin{table}\begin{tabular}[t]{l|r}
  Name & Value \\ \hline See \eqref{eq:two} & 1.5 \\
  \textbf{Other} \cite{lamport} & 2\\[2pt] \end{tabular}\end{table}
\[ \includegraphics{x} = 1 \] $\ref{nowhere} = 1$ $$ \left( a^2 \right] $$
\end{document}
"""


def test_formulas_are_expanded_and_labels_go() -> None:
    formulas = read_latex(SOURCE).formulas
    assert formulas == [
        r"x_1 \in \mathbb{R}^n",
        r"\lVert x \rVert \le \frac{y}{2}",
        "\\begin{align*}\na &= b + c, \\\\\nd &= \\operatorname{rank}A\n\\end{align*}",
        r"\left( a^2 \right]",
    ]


def test_tables_have_a_row_a_line_and_numbers_for_references() -> None:
    (table,) = read_latex(SOURCE).tables
    assert table.split("\n") == [
        r"\begin{tabular}{l|r}",
        r"Name & Value \\",
        r"\hline",
        r"See (2) & 1.5 \\",
        r"\textbf{Other} [2] & 2 \\",
        r"\end{tabular}",
    ]


def test_what_is_left_out_is_counted() -> None:
    removed = read_latex(SOURCE).removed
    assert removed["uses_includegraphics"] == 1
    assert removed["reference_without_label"] == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (r"$a = \write18{rm -rf /}$", "uses_write"),
        (r"$\input{/etc/passwd} = 1$", "uses_input"),
        (r"$\csname a\endcsname = b$", "uses_csname"),
        (r"$a^^41 = b_1$", "unwanted_code"),
        (r"$\left( a_1 = b$", "unbalanced"),
        (r"$a_{1 = b$", "unbalanced"),
        (r"$some words = text$", "looks_like_text"),
        (r"$ab c$", "too_little_formula"),
        (r"\newcommand{\a}{\b\b} \newcommand{\b}{\a\a} $\a = 1$", "macro_without_end"),
        (r"\begin{tabular}{ll} a & b \begin{tabular}{l} c \end{tabular} \\ d & e \end{tabular}", "nested_table"),
        (r"\begin{tabular}{l} just one \\ column \end{tabular}", "no_table"),
        (r"\begin{tabular}{ll} Name & Value \\ \includegraphics{x} & two \end{tabular}", "uses_includegraphics"),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled_alone_is_left_out_with_a_reason(code: str, reason: str) -> None:
    document = read_latex(code)
    assert document.removed[reason] == 1
    assert not document.tables
    assert not document.formulas


@pytest.mark.parametrize(
    "text",
    [
        "$" * 20000,
        r"\begin{tabular}" * 3000,
        r"\newcommand{\a}[1]{#1#1}" + r"$\a{x}=1$" * 2000,
        "\\" * 20000,
        r"\begin{equation}" * 2000,
        "{" * 20000,
        r"\def\x{" * 3000,
        r"\[" * 10000,
        r"\(" * 10000,
        r"\begin{verbatim}" * 3000,
        r"\cite[" * 5000,
    ],
)
def test_hostile_sources_take_little_time(text: str) -> None:
    start = time.process_time()
    read_latex(text)
    assert time.process_time() - start < 5
