"""`step3vl corpus`: build datasets, look into them, and turn what people have into them and back."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from step3vl.workflows.command import SETTINGS, ConfigFile, DryRun, Overrides, resolve, work


class InOrder(TyperGroup):
    """Lists the commands in the order of the work."""

    def list_commands(self, ctx: Any) -> list[str]:
        return ["build", "convert", "inspect", "verify", "doctor", "diff", "merge", "split", "schema"]


Form = Literal["dataset", "llava", "sharegpt", "openai", "huggingface", "webdataset", "step"]
Side = Literal["train", "heldout"]
Kind = Literal["document", "conversation"]
Oversize = Literal["drop", "split", "truncate"]

corpus = typer.Typer(
    cls=InOrder, help="Build a corpus from documents and pictures, convert others, and look into them.", **SETTINGS
)

Committed = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset: a folder, or any URL of fsspec.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")]
Name = Annotated[str | None, typer.Option(help="The name that shards begin with; by default that of OUT.")]
Shards = Annotated[int | None, typer.Option(min=1, max=99_999, help="Shards of each split.")]
Task = Annotated[str | None, typer.Option(metavar="PATTERN", help="Only tasks like this, such as ocr.*")]


@corpus.command("build", epilog="Example:  step3vl corpus build workflows/tiny/corpus.yaml --out runs/corpus")
def build(
    config: ConfigFile,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The dataset's directory; an interrupted build goes on there.")
    ],
    overrides: Overrides = None,
    dry_run: DryRun = False,
) -> None:
    """Build a sharded, indexed dataset from the sources that CONFIG names."""
    with work():
        from step3vl.pipelines.corpus import CorpusConfig, build_corpus

        resolved = resolve(config, overrides, CorpusConfig, dry_run)
        if resolved:
            build_corpus(resolved, out)


@corpus.command(
    "convert",
    epilog="""
[bold]LLaVA to a dataset[/bold]   step3vl corpus convert llava.json runs/vqa --from llava

[bold]Back to messages[/bold]     step3vl corpus convert runs/vqa messages --from dataset --to openai

Formats: dataset (ours), llava, sharegpt, openai (messages), huggingface (Parquet), webdataset (pairs), step
(StepFun's training framework).
""",
)
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A file or a folder of files; a dataset may be a URL.")],
    out: Out,
    form: Annotated[Form, typer.Option("--from", metavar="FORMAT", help="What SRC is.")],
    to: Annotated[Form, typer.Option("--to", metavar="FORMAT", help="What OUT becomes.")] = "dataset",
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where paths of pictures start; by default beside SRC.")
    ] = None,
    domain: Annotated[str, typer.Option(help="Domain of records that name none.")] = "converted",
    task: Annotated[
        str | None, typer.Option(help="Task of records that name none; from a dataset, the pattern of tasks to take.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of records that name none, as SPDX writes it.")] = "unknown",
    split: Annotated[Side | None, typer.Option(help="From a dataset: only this split.")] = None,
    tokenizer: Annotated[
        str, typer.Option(help="To a dataset: qwen3, or a tokenizer.json or its folder, which is copied.")
    ] = "qwen3",
    shards: Annotated[int, typer.Option(min=1, max=99_999, help="To a dataset: shards of each split.")] = 16,
    heldout: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99,
            help="To a dataset: the fraction held out, by the hash of the id. None by default; from a dataset it must "
            "be said, and its own fraction gives its own split.",
        ),
    ] = None,
    name: Name = None,
) -> None:
    """Turn records of other formats into a dataset, or a dataset into them; each record is kept or accounted for."""
    with work("stopped; nothing was committed"):
        from step3vl.workflows.corpora import convert_corpus

        convert_corpus(
            source,
            out,
            form,
            to,
            about={"domain": domain, "task": task, "licence": licence, "pictures": pictures},
            split=split,
            dataset={"tokenizer": tokenizer, "shards": shards, "heldout": heldout, "name": name},
        )


@corpus.command("inspect", epilog="Example:  step3vl corpus inspect runs/tiny/corpus --card runs/card")
def inspect(
    dataset: Committed,
    card: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the same as Markdown and HTML, with pictures, there.")
    ] = None,
) -> None:
    """Show what a dataset holds: samples, tokens, pictures, tasks, sizes, and what became of every record."""
    with work("stopped"):
        from rich.console import Console

        from step3vl.data.card import write_card
        from step3vl.data.dataset import Dataset
        from step3vl.data.show import print_dataset

        opened = Dataset.open(dataset)
        print_dataset(opened, Console())
        if card is not None:
            write_card(opened, card)


@corpus.command("verify", epilog="Example:  step3vl corpus verify runs/tiny/corpus --workers 4")
def verify(
    dataset: Committed,
    pictures: Annotated[bool, typer.Option(help="Decode every picture, or look only at their hashes.")] = True,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Look at every byte of a dataset, and name and count all that is wrong with it; the exit code is then 1."""
    with work("stopped"):
        from step3vl.workflows.corpora import verify_corpus

        verify_corpus(dataset, pictures=pictures, workers=workers)


@corpus.command("doctor", epilog="Example:  step3vl corpus doctor runs/tiny/corpus --model runs/tiny/sft/export")
def doctor(
    dataset: Committed,
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="A model folder; without one, the tokenizer that counted the dataset."),
    ] = None,
    length: Annotated[int, typer.Option(min=1, help="Tokens of a pack, as a training run has them.")] = 4096,
    split: Annotated[Side, typer.Option(help="Which split.")] = "train",
    kind: Annotated[Kind | None, typer.Option(help="Only these: pretraining reads documents.")] = None,
    task: Task = None,
    oversize: Annotated[Oversize, typer.Option(help="What becomes of samples longer than a pack.")] = "drop",
    packs: Annotated[int | None, typer.Option(min=1, help="Only the first packs of an epoch.")] = None,
    seed: Annotated[int, typer.Option(help="Of the order.")] = 0,
) -> None:
    """Take a dataset through a trainer's own plan, loader and collator, and tell what a run would lose or not learn.

    When it would not train on everything, the exit code is 1.
    """
    with work("stopped"):
        from rich.console import Console

        from step3vl.training.doctor import diagnose, render

        diagnosis = diagnose(
            dataset,
            model,
            capacity=length,
            split=split,
            kind=kind,
            task=task,
            oversize=oversize,
            packs=packs,
            seed=seed,
        )
        Console().print(render(diagnosis))
        if not diagnosis.healthy:
            raise typer.Exit(1)


@corpus.command("diff", epilog="Example:  step3vl corpus diff runs/before/corpus runs/after/corpus")
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A dataset.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
) -> None:
    """Show what changed from A to B: samples by task, configuration and code. Differences make the exit code 1."""
    with work("stopped"):
        from step3vl.workflows.corpora import diff_corpora

        diff_corpora(before, after)


@corpus.command("merge", epilog="Example:  step3vl corpus merge runs/one runs/two runs/both")
def merge(
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASET DATASET... OUT", help="Datasets, then the new one.")
    ],
    shards: Shards = None,
    name: Name = None,
) -> None:
    """Merge datasets into OUT: every sample once, what was held out still held out, all ledgers added up."""
    with work("stopped; nothing was committed"):
        from step3vl.workflows.corpora import merge_corpora

        merge_corpora(datasets, name, shards)


@corpus.command("split", epilog="Example:  step3vl corpus split runs/corpus runs/resplit --heldout 0.1")
def split(
    dataset: Committed,
    out: Out,
    heldout: Annotated[float, typer.Option(min=0, max=1, help="The fraction held out, by the hash of the id.")],
    shards: Shards = None,
    name: Name = None,
) -> None:
    """Part a dataset anew into training and held-out samples."""
    with work("stopped; nothing was committed"):
        from step3vl.workflows.corpora import split_corpus

        split_corpus(dataset, out, heldout, name, shards)


@corpus.command("schema", epilog="Example:  step3vl corpus schema > sample.schema.json")
def schema() -> None:
    """Print the JSON Schema of a sample."""
    with work("stopped"):
        from step3vl.data.schema import schema_text

        typer.echo(schema_text(), nl=False)
