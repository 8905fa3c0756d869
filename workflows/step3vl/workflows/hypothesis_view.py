"""PaCoRe's hypotheses while they are sampled: a live table on a terminal, plain lines elsewhere."""

import re
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from step3vl.inference.pacore import (
    HypothesisDelta,
    PaCoReEvent,
    RolloutsRestarted,
    RoundFinished,
    RoundStarted,
    RoundTrace,
)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
TAIL = 400
"""Last characters of a hypothesis that are kept for its line."""
FRAMES_PER_SECOND = 8


def printable(words: str) -> str:
    """Remove control characters, which a terminal would obey; newlines and tabs stay."""
    return _CONTROL.sub("", words)


class HypothesisView:
    """Shows the events of a PaCoRe stream. Each round leaves its answers as lines."""

    def __init__(self, console: Console, silent: bool):
        self._console = console
        self._silent = silent
        self._live: Live | None = None
        self._tails: list[str] = []
        self._tokens: list[int] = []
        self._ended: list[bool] = []
        self._title = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def update(self, event: PaCoReEvent) -> None:
        """Show an event."""
        if self._silent:
            return
        if isinstance(event, RoundStarted) and not event.last:
            self._start(event)
        elif isinstance(event, HypothesisDelta):
            index = event.delta.index
            self._tails[index] = (self._tails[index] + event.delta.text)[-TAIL:]
            self._tokens[index] += max(1, len(event.delta.token_ids))
            self._ended[index] = event.delta.finish_reason is not None
        elif isinstance(event, RolloutsRestarted):
            for index in event.indices if self._tails else ():
                self._tails[index], self._tokens[index] = "", 0
            self._console.print(f"retried: {event.reason}", style="yellow", markup=False)
        elif isinstance(event, RoundFinished) and event.trace.rollouts == len(self._tails):
            self._stop()
            self._print_answers(event.trace)
            self._tails = []

    def _start(self, event: RoundStarted) -> None:
        self._tails = [""] * event.rollouts
        self._tokens = [0] * event.rollouts
        self._ended = [False] * event.rollouts
        self._title = f"round {event.round + 1}: {event.rollouts} answers in parallel"
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._table, console=self._console, refresh_per_second=FRAMES_PER_SECOND, transient=True
            )
            self._live.start()
        else:
            self._console.print(self._title, style="dim")

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self) -> RenderableType:
        table = Table(
            title=self._title, title_justify="left", title_style="dim", box=None, expand=True, padding=(0, 1)
        )
        table.add_column("#", justify="right", style="cyan", width=3)
        table.add_column("tokens", justify="right", style="dim", width=6)
        table.add_column("latest text", no_wrap=True, overflow="crop", ratio=1)
        width = max(20, self._console.width - 18)
        max_rows = max(1, self._console.height - 4)
        for index in range(min(max_rows, len(self._tails))):
            line = " ".join(printable(self._tails[index]).split())[-width:]
            mark = Text("✓ ", "green") if self._ended[index] else Text("  ")
            table.add_row(str(index + 1), str(self._tokens[index]), mark + Text(line, "dim"))
        hidden = len(self._tails) - max_rows
        if hidden > 0:
            table.add_row("", "", Text(f"and {hidden} more", "dim"))
        return table

    def _print_answers(self, trace: RoundTrace) -> None:
        """Print the answer of each rollout of a round, and what was cut."""
        for rollout in trace.trajectories:
            answer = printable(rollout.answer.strip()) or "(no answer)"
            note = " (not finished)" if rollout.finish_reason == "cancelled" else ""
            self._console.print(f"{rollout.index + 1}: {answer}{note}", style="dim", markup=False, soft_wrap=True)
        if trace.cut:
            self._console.print(f"{trace.cut} references were cut to fit the context", style="yellow")
        if trace.consensus_rollout is not None:
            self._console.print("they agree", style="dim")
