"""`step3vl batch`: answer a file of questions, with a progress bar on stderr and a summary on stdout."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from step3vl.data.dataset import Split
from step3vl.data.errors import UserError
from step3vl.data.storage import require_local
from step3vl.inference import Backend, BackendError, PaCoReConfig, Sampling
from step3vl.inference.batch import (
    AnswerFile,
    AnswerRow,
    BatchConfig,
    BatchSummary,
    answer_all,
    count_questions,
    read_questions,
)
from step3vl.inference.client import run_sync
from step3vl.inference.pacore import TEMPLATE, load_template
from step3vl.workflows.backends import open_backend, parse_rounds


def run_batch(
    source: str,
    out: Path,
    *,
    model: str | None,
    backend: str | None = None,
    api_key: str | None = None,
    rounds: str = "off",
    template: Path | None = None,
    consensus: float | None = None,
    deadline: float | None = None,
    min_rollouts: int = 1,
    trace: bool = False,
    split: Split = "heldout",
    concurrency: int = 16,
    retry_failed: bool = False,
    temperature: float = 1.0,
    max_new_tokens: int = 1024,
    seed: int = 0,
    as_json: bool = False,
) -> BatchSummary:
    """Answer the questions that ``out`` does not answer yet. Arguments are those of ``step3vl batch``.

    Returns:
        The counts that are printed.

    Raises:
        UserError: the questions, the template or the model cannot be read; the server is unreachable; ``out`` is a
            URL.
    """
    require_local(out)
    pacore = None
    if counts := parse_rounds(rounds):
        pacore = PaCoReConfig(
            rounds=counts, template=template or TEMPLATE, consensus=consensus or None, deadline=deadline or None,
            min_rollouts=min_rollouts,
        )  # fmt: skip
        load_template(pacore.template)
    config = BatchConfig(
        sampling=Sampling(temperature=temperature, max_new_tokens=max_new_tokens),
        pacore=pacore,
        seed=seed,
        trace=trace,
        concurrency=concurrency,
    )
    total = count_questions(source, split)  # before the model, which takes longer to load
    if not total:
        raise UserError(f"{source}: no questions" + (f" in split {split}" if Path(source).is_dir() else ""))
    settings: dict[str, Any] = {
        "input": source if "://" in source else str(Path(source).resolve()),
        "model": model,
        **config.model_dump(mode="json", exclude={"concurrency"}),
    }
    if pacore:  # the content of the template, which a path does not identify
        settings["pacore"]["template"] = pacore.template.read_text(encoding="utf-8")
    with AnswerFile(out, settings, retry_failed) as output:
        before = len(output.done)
        if before < total:
            answers = open_backend(model, backend, api_key)
            try:
                summary = _answer(answers, source, split, output, config, total)
            finally:
                run_sync(answers.close())
        else:
            summary = BatchSummary(total, before, 0, 0, 0, 0, 0.0)
    print(json.dumps(asdict(summary)) if as_json else _describe(summary, out))
    return summary


def _answer(
    backend: Backend, source: str, split: Split, output: AnswerFile, config: BatchConfig, total: int
) -> BatchSummary:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    failed = 0
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as progress:
        task = progress.add_task("questions", total=total, completed=len(output.done), failed=0)

        def advance(row: AnswerRow) -> None:
            nonlocal failed
            failed += row["status"] == "failed"
            progress.update(task, advance=1, failed=failed)

        try:
            return run_sync(answer_all(backend, read_questions(source, split), output, config, advance))
        except BackendError as error:
            raise UserError(f"{error}; {len(output.done)} of {total} are done, the same command continues") from None


def _describe(summary: BatchSummary, out: Path) -> str:
    parts = [f"{summary.answered} answered", f"{summary.failed} failed"]
    if summary.already_answered:
        parts.append(f"{summary.already_answered} answered before")
    rate = summary.completion_tokens / summary.seconds if summary.seconds else 0.0
    return (
        f"{out}: {summary.total} questions: {', '.join(parts)}; {summary.prompt_tokens:,} tokens read, "
        f"{summary.completion_tokens:,} sampled in {summary.seconds:.1f} s ({rate:,.0f} a second)"
    )
