"""`step3vl corpus`: convert, inspect, check, compare, merge and split datasets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from step3vl.workflows.command import Force, Overrides, StoreOptions, command_context, resolve_store
from step3vl.workflows.corpus_cli import DatasetUrl, corpus

SourceFormat = Literal["auto", "dataset", "llava", "sharegpt", "openai", "alpaca", "huggingface", "webdataset", "step"]
Format = Literal["dataset", "llava", "sharegpt", "openai", "huggingface", "webdataset", "step"]
Trained = Literal["all", "last"]
Split = Literal["train", "heldout"]
Kind = Literal["document", "conversation"]
Oversize = Literal["drop", "split", "truncate"]
Reader = Literal["wids", "energon"]

NewDataset = Annotated[str, typer.Argument(metavar="OUT", help="The new dataset: a folder, or any fsspec URL.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Worker processes, by default 1; with --ray actors, by default one a CPU.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on the Ray cluster at this address, or auto. Its machines have to share folders, TMPDIR too.",
    ),
]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")]
Name = Annotated[str | None, typer.Option(help="The prefix of shard names; by default, the name of OUT.")]
Shards = Annotated[int | None, typer.Option(min=1, max=99_999, help="Shards of each split.")]
Where = Annotated[
    str | None,
    typer.Option(metavar="EXPRESSION", help="Only samples whose index rows it selects, such as 'tokens < 4096'."),
]
Task = Annotated[str | None, typer.Option(metavar="PATTERN", help="Only tasks that match, such as ocr.*")]


@contextmanager
def _working_on(ray: str | None, workers: int | None) -> Iterator[int | None]:
    """Work on a Ray cluster, by default with all its CPUs, or without one here, by default with one worker."""
    from step3vl.data.ray_workers import on_ray

    with on_ray(ray):
        yield workers or (1 if ray is None else None)


@corpus.command(
    "convert",
    epilog="""
[bold]LLaVA to a dataset[/bold]   step3vl corpus convert llava.json runs/vqa

[bold]First, to see[/bold]        step3vl corpus convert llava.json --dry-run

[bold]Other columns[/bold]        step3vl corpus convert maths.parquet runs/maths --columns question=problem

[bold]Back to messages[/bold]     step3vl corpus convert runs/vqa messages --to openai

[bold]In a bucket[/bold]          step3vl corpus convert 's3://raw/*.jsonl' s3://corpora/chats --store endpoint=URL

Formats: dataset (ours), llava, sharegpt, openai (messages), alpaca, huggingface (rows of Parquet or JSON: questions,
options, interleaved documents, preferences), webdataset (pairs), step (StepFun's training framework).
""",
)
def convert(
    source: Annotated[
        str,
        typer.Argument(metavar="SRC", help="A file, a folder or a pattern such as 'data/**/*.json', or their URL."),
    ],
    out: Annotated[
        str | None,  # a folder or a URL, which would be another as a `Path`
        typer.Argument(metavar="OUT", help="The new folder, or any fsspec URL; not needed with --dry-run."),
    ] = None,
    source_format: Annotated[
        SourceFormat, typer.Option("--from", metavar="FORMAT", help="The format of SRC; by default, as its files say.")
    ] = "auto",
    out_format: Annotated[Format, typer.Option("--to", metavar="FORMAT", help="The format of OUT.")] = "dataset",
    images: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The folder or URL that images are in, and their paths relative to; by default, that of SRC.",
        ),
    ] = None,
    domain: Annotated[str, typer.Option(help="Domain of records without one.")] = "converted",
    task: Annotated[
        str | None, typer.Option(help="Task of records without one; from a dataset, the pattern of tasks to convert.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of records without one, as an SPDX identifier.")] = "unknown",
    trained: Annotated[
        Trained | None,
        typer.Option(
            help="Which answers without a weight are trained: all, or those after the last question. By default all, "
            "unless the template would strip the reasoning of earlier ones; from step, the last."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COLUMN,...", help="Columns by the names that are read: question=problem."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="A field to leave out though it changes the meaning; may be repeated."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Convert only so many records.")] = None,
    max_dead: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Commit nothing, and exit with 2, if more of the records failed: 1%."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Write nothing, but print a sample and what of it is trained."),
    ] = False,
    split: Annotated[Split | None, typer.Option(help="From a dataset: only this split.")] = None,
    tokenizer: Annotated[
        str, typer.Option(help="To a dataset: qwen3, or a tokenizer.json or its folder, which is copied.")
    ] = "qwen3",
    shards: Annotated[int, typer.Option(min=1, max=99_999, help="To a dataset: shards of each split.")] = 16,
    heldout: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99,
            help="To a dataset: the fraction held out, by the hash of the id; 0 by default. Required from a dataset, "
            "where the fraction of the old split gives the same split.",
        ),
    ] = None,
    name: Name = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; by default, one for each core of this machine.")
    ] = None,
    ray: Ray = None,
    store: StoreOptions = None,
    force: Force = False,
) -> None:
    """Convert records of other formats to a dataset, or back; every record is written or accounted for."""
    with command_context("interrupted; nothing was committed"):
        from step3vl.data.ray_workers import on_ray
        from step3vl.workflows.corpus_convert import convert_corpus, parse_columns, parse_share

        fields = {"domain": domain, "task": task, "licence": licence, "images": images, "trained": trained}
        with on_ray(ray):
            convert_corpus(
                source,
                out,
                source_format,
                out_format,
                defaults={**fields, "columns": parse_columns(columns or []), "ignore": tuple(ignore or ())},
                split=split,
                dataset={"tokenizer": tokenizer, "shards": shards, "heldout": heldout, "name": name},
                limit=limit,
                max_failed=parse_share(max_dead),
                dry_run=dry_run,
                store=resolve_store(store),
                workers=workers,
                force=force,
            )


@corpus.command("inspect", epilog="Example:  step3vl corpus inspect runs/tiny/corpus --card runs/card")
def inspect(
    dataset: DatasetUrl,
    card: Annotated[
        str | None,  # a folder or a URL, which would be another as a `Path`
        typer.Option(metavar="DIR", help="Also write a data card there, as Markdown and HTML with images."),
    ] = None,
    sheets: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Instead, write a contact sheet of each task there: images beside labels."),
    ] = None,
    task: Task = None,
    where: Where = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples on a contact sheet.")] = 16,
    store: StoreOptions = None,
) -> None:
    """Show what is in a dataset: samples, tokens, tasks, how diverse they are, and what became of every record."""
    with command_context("interrupted"):
        from rich.console import Console

        from step3vl.data.dataset import Dataset, RowFilter
        from step3vl.data.errors import UserError
        from step3vl.data.inspect import print_dataset, write_card, write_task_sheets

        if where is not None and card is not None:
            raise UserError("a card is that of the whole dataset: give --card or --where")
        selected = None if where is None else RowFilter(where)
        opened = Dataset.open(dataset, resolve_store(store))
        if sheets is not None:
            for name in write_task_sheets(opened, sheets, samples, task, selected):
                typer.echo(f"{sheets}/{name}")
            return
        print_dataset(opened, Console(), selected)
        if card is not None:
            write_card(opened, card, store=opened.files.config)


@corpus.command(
    "view",
    epilog="""
[bold]Browse[/bold]              step3vl corpus view runs/corpus

[bold]What changed[/bold]        step3vl corpus view runs/after --compare runs/before

[bold]Drops and matches[/bold]   step3vl corpus view runs/curated --compare runs/corpus
""",
)
def view(
    dataset: DatasetUrl,
    other: Annotated[
        str | None,
        typer.Option("--compare", metavar="OTHER", help="An earlier build, or the dataset that was curated."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this machine; 0 takes any free one.")] = 8001,
    store: StoreOptions = None,
) -> None:
    """Browse a dataset in a browser: samples with marks on images, dropped and failed records, changes between builds.

    The page is served to this machine alone, and loads nothing from elsewhere.
    """
    with command_context("stopped"):
        from step3vl.workflows.corpus_commands import view_corpus

        view_corpus(dataset, other, port, resolve_store(store))


@corpus.command("verify-labels", epilog="Example:  step3vl corpus verify-labels runs/tiny/corpus --samples 100")
def verify_labels(
    dataset: DatasetUrl,
    samples: Annotated[int, typer.Option(min=1, help="Random samples of each task, at most.")] = 200,
    task: Task = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    store: StoreOptions = None,
) -> None:
    """Measure the error rate of the labels of each task, by the independent checks that domains offer.

    The result is kept beside the dataset, where its card and `corpus inspect` show it; with --task it is only printed.
    """
    with command_context("interrupted; nothing was written"):
        from step3vl.workflows.corpus_commands import measure_label_errors

        measure_label_errors(dataset, samples, seed, task, resolve_store(store))


@corpus.command("verify", epilog="Example:  step3vl corpus verify runs/tiny/corpus --workers 4")
def verify(
    dataset: DatasetUrl,
    images: Annotated[bool, typer.Option(help="Decode every image, or only check hashes.")] = True,
    workers: Workers = None,
    ray: Ray = None,
    store: StoreOptions = None,
) -> None:
    """Check every byte of a dataset, and list what is wrong with it; the exit code is then 1."""
    with command_context("interrupted"):
        from step3vl.workflows.corpus_commands import verify_corpus

        with _working_on(ray, workers) as count:
            verify_corpus(dataset, images=images, workers=count, store=resolve_store(store))


@corpus.command("doctor", epilog="Example:  step3vl corpus doctor runs/tiny/corpus --model runs/tiny/sft/export")
def doctor(
    dataset: DatasetUrl,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL", help="A model folder; by default, only the tokenizer that the dataset was counted with."
        ),
    ] = None,
    length: Annotated[int, typer.Option(min=1, help="Tokens of a pack: the run's data.sequence_length.")] = 4096,
    split: Annotated[Split, typer.Option(help="The split to check.")] = "train",
    kind: Annotated[Kind | None, typer.Option(help="Only documents, or only conversations.")] = None,
    task: Task = None,
    where: Where = None,
    oversize: Annotated[Oversize, typer.Option(help="What becomes of samples longer than a pack.")] = "drop",
    packs: Annotated[int | None, typer.Option(min=1, help="Check only the first packs of an epoch.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order.")] = 0,
    store: StoreOptions = None,
) -> None:
    """Run a dataset through the trainer's plan, loader and collator, and report what a run would lose or not learn.

    If a run would not train on everything, the exit code is 1.
    """
    with command_context("interrupted"):
        from rich.console import Console

        from step3vl.training.doctor import diagnose, render

        diagnosis = diagnose(
            dataset,
            model,
            sequence_length=length,
            split=split,
            kind=kind,
            task=task,
            where=where,
            oversize=oversize,
            packs=packs,
            seed=seed,
            store=resolve_store(store),
        )
        Console().print(render(diagnosis))
        if not diagnosis.healthy:
            raise typer.Exit(1)


@corpus.command("diff", epilog="Example:  step3vl corpus diff runs/before/corpus runs/after/corpus")
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A dataset.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another dataset.")],
    workers: Workers = None,
    ray: Ray = None,
    store: StoreOptions = None,
) -> None:
    """Show what changed from A to B: samples by task, splits, configuration and code. If anything did, the exit code
    is 1.
    """
    with command_context("interrupted"):
        from step3vl.workflows.corpus_commands import diff_corpora

        with _working_on(ray, workers) as count:
            diff_corpora(before, after, workers=count, store=resolve_store(store))


@corpus.command("merge", epilog="Example:  step3vl corpus merge runs/a runs/b runs/both")
def merge(
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASET DATASET... OUT", help="Datasets, then the new one.")
    ],
    shards: Shards = None,
    name: Name = None,
    workers: Workers = None,
    ray: Ray = None,
    store: StoreOptions = None,
    force: Force = False,
) -> None:
    """Merge datasets into OUT: each sample once, held-out samples still held out, all ledgers added up."""
    with command_context("interrupted; nothing was committed"):
        from step3vl.workflows.corpus_commands import merge_corpora

        with _working_on(ray, workers) as count:
            merge_corpora(datasets, name, shards, workers=count, store=resolve_store(store), force=force)


@corpus.command("split", epilog="Example:  step3vl corpus split runs/corpus runs/resplit --heldout 0.1")
def split(
    dataset: DatasetUrl,
    out: NewDataset,
    heldout: Annotated[float, typer.Option(min=0, max=1, help="The fraction held out, by the hash of the id.")],
    shards: Shards = None,
    name: Name = None,
    workers: Workers = None,
    ray: Ray = None,
    store: StoreOptions = None,
    force: Force = False,
) -> None:
    """Split a dataset again into training and held-out samples."""
    with command_context("interrupted; nothing was committed"):
        from step3vl.workflows.corpus_commands import split_corpus

        with _working_on(ray, workers) as count:
            split_corpus(
                dataset,
                out,
                heldout,
                name,
                shards,
                workers=count,
                store=resolve_store(store),
                force=force,
            )


@corpus.command(
    "simulate",
    epilog="""
[bold]A run[/bold]       step3vl corpus simulate pretrain.yaml --nodes 64 --cache 2TB --latency 30ms --out page.html

[bold]A dataset[/bold]   step3vl corpus simulate s3://bucket/corpus --nodes 8 --cache 500GB
""",
)
def simulate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|DATASET", help="The YAML file of `train pretrain` or `train sft`, or a dataset."
        ),
    ],
    overrides: Overrides = None,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    ranks: Annotated[int | None, typer.Option(min=1, help="Ranks of a node; by default as CONFIG says, or 8.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes of a rank that read ahead.")] = None,
    micro_batch: Annotated[int | None, typer.Option(min=1, help="Packs of a rank in a batch.")] = None,
    cache: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What the cache of a node holds, such as 2TB; by default none.")
    ] = None,
    block: Annotated[str | None, typer.Option(metavar="SIZE", help="Fetched at once to fill it: 4MiB.")] = None,
    bandwidth: Annotated[str, typer.Option(metavar="SIZE", help="A second, from the store to a node.")] = "10Gbit",
    latency: Annotated[str, typer.Option(metavar="TIME", help="Until the store answers a request.")] = "30ms",
    batches: Annotated[int, typer.Option(min=1, help="Batches of all ranks that are read.")] = 200,
    length: Annotated[int | None, typer.Option(min=16, help="Tokens of a pack; of a dataset 4096.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the order.")] = None,
    split: Annotated[Split, typer.Option(help="Of a dataset: the split.")] = "train",
    kind: Annotated[Kind | None, typer.Option(help="Only documents, or only conversations, as `train sft`.")] = None,
    task: Task = None,
    where: Where = None,
    oversize: Annotated[Oversize, typer.Option(help="Of a dataset: samples longer than a pack.")] = "drop",
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Also write a page with plots there.")] = None,
    store: StoreOptions = None,
) -> None:
    """Compute from the plan what a run reads: bytes and requests of each node, seconds to the first batch, disk, and
    tasks over time. No sample is read.
    """
    with command_context("interrupted"):
        from step3vl.data.dataset import RowFilter
        from step3vl.workflows.simulate import SimulationOptions, parse_bytes, parse_seconds, simulate_command

        options = SimulationOptions(
            cluster={
                "nodes": nodes,
                "ranks": ranks,
                "workers": workers,
                "micro_batch": micro_batch,
                "cache_bytes": parse_bytes(cache, "--cache"),
                "block": parse_bytes(block, "--block"),
                "bandwidth": parse_bytes(bandwidth, "--bandwidth"),
                "latency": parse_seconds(latency, "--latency"),
            },
            cut={
                "split": split,
                "kind": kind,
                "task": task,
                "where": None if where is None else RowFilter(where).expression,
                "oversize": oversize,
            },
            batches=batches,
            length=length,
            seed=seed,
            store=resolve_store(store),
        )
        simulate_command(source, overrides or [], options, out)


@corpus.command("export-index", epilog="Example:  step3vl corpus export-index runs/corpus energon")
def export_index(
    dataset: DatasetUrl,
    reader: Annotated[Reader, typer.Argument(metavar="wids|energon", help="The library.")],
    store: StoreOptions = None,
) -> None:
    """Write what another library needs to read the shards as they are, beside the manifest: an index for wids, or
    Energon's metadata.
    """
    with command_context("interrupted"):
        from step3vl.data.dataset import Dataset, write_reader_files

        opened = Dataset.open(dataset, resolve_store(store))
        for path in write_reader_files(opened, reader):
            typer.echo(opened.files.absolute(path))


@corpus.command(
    "schema",
    epilog="""
[bold]Of a sample[/bold]         step3vl corpus schema > sample.schema.json

[bold]Of CONFIG, for editors[/bold]  step3vl corpus schema --config > corpus.schema.json, and as the first line of
corpus.yaml:  # yaml-language-server: $schema=corpus.schema.json
""",
)
def schema(
    config: Annotated[
        bool, typer.Option("--config", help="Of the configuration of `corpus build`, with all installed domains.")
    ] = False,
) -> None:
    """Print the JSON Schema of a sample, or of the configuration of a corpus."""
    with command_context("interrupted"):
        from step3vl.workflows.corpus_commands import print_schema

        print_schema(config=config)
