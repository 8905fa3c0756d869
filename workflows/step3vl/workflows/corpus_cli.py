"""`step3vl corpus`: build datasets, inspect them, and convert them from and to other formats."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from step3vl.workflows.command import (
    INTERRUPTED,
    SETTINGS,
    ConfigFile,
    DryRun,
    Force,
    Overrides,
    command_context,
    ordered_group,
)

Format = Literal["dataset", "llava", "sharegpt", "openai", "huggingface", "webdataset", "step"]
Split = Literal["train", "heldout"]
Kind = Literal["document", "conversation"]
Oversize = Literal["drop", "split", "truncate"]

corpus = typer.Typer(
    cls=ordered_group(
        *("build", "plan", "domains", "cost", "clean", "curate"),
        *("convert", "inspect", "verify", "verify-labels", "doctor", "diff", "merge", "split", "schema", "concepts"),
    ),
    help="Build a corpus from documents and images, convert others, and inspect them.",
    **SETTINGS,
)

BuildOut = Annotated[str, typer.Option(metavar="DIR", help="The dataset: a folder, or any fsspec URL.")]
DatasetUrl = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset: a folder, or any fsspec URL.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")]
Name = Annotated[str | None, typer.Option(help="The prefix of shard names; by default, the name of OUT.")]
Shards = Annotated[int | None, typer.Option(min=1, max=99_999, help="Shards of each split.")]
Task = Annotated[str | None, typer.Option(metavar="PATTERN", help="Only tasks that match, such as ocr.*")]


@corpus.command(
    "build",
    epilog="""
[bold]On this machine[/bold]       step3vl corpus build workflows/tiny/corpus.yaml --out runs/corpus

[bold]With 8 processes[/bold]      step3vl corpus build corpus.yaml --out runs/corpus
'beam_options=[--direct_num_workers=8, --direct_running_mode=multi_processing]'

[bold]Into a store[/bold]          step3vl corpus build corpus.yaml --out s3://bucket/corpus

[bold]A hundredth, to see[/bold]   step3vl corpus build corpus.yaml --out runs/sample --fraction 0.01

An interrupted build continues with the same command.

What is committed under the root (DIR/.staging, or `root` of CONFIG) is used again by the next build.

The progress is a page there, too: progress.html.
""",
)
def build(
    config: ConfigFile,
    out: BuildOut,
    overrides: Overrides = None,
    fraction: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="SHARE", help="Use only this share of the inputs.")
    ] = None,
    rebuild: Annotated[
        list[str] | None,
        typer.Option(metavar="ENTRY", help="Work on all records of this entry again; may be repeated."),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="PORT", help="Serve Prometheus metrics at /metrics there.")
    ] = None,
    dry_run: DryRun = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace another finished dataset, which is kept as NAME.1, NAME.2 ..."),
    ] = False,
) -> None:
    """Build a sharded, indexed dataset from the sources that CONFIG names."""
    share = [] if fraction is None else [f"fraction={fraction}"]
    with command_context(INTERRUPTED):
        from step3vl.workflows.corpus_build import build_command

        build_command(
            config,
            [*(overrides or ()), *share],
            out,
            rebuild=tuple(rebuild or ()),
            metrics_port=metrics_port,
            dry_run=dry_run,
            force=force,
        )


@corpus.command("plan", epilog="Example:  step3vl corpus plan workflows/tiny/corpus.yaml --out runs/corpus")
def plan(config: ConfigFile, out: BuildOut, overrides: Overrides = None) -> None:
    """Show what `corpus build` would do: for each entry and segment of steps, the fragments that are done and missing.

    Inputs are listed; nothing is worked on.
    """
    with command_context("interrupted"):
        from step3vl.workflows.corpus_build import plan_command

        plan_command(config, overrides, out)


@corpus.command(
    "domains",
    epilog="""
[bold]All of them[/bold]      step3vl corpus domains

[bold]One, to start from[/bold]  step3vl corpus domains maps --example > corpus.yaml
""",
)
def domains(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show the fields of this domain.")] = None,
    example: Annotated[bool, typer.Option("--example", help="Print only a configuration that builds.")] = False,
) -> None:
    """List the domains that a corpus can have, those of other installed packages too; or the fields of one of them."""
    with command_context("interrupted"):
        from step3vl.workflows.corpus_commands import print_domains

        print_domains(name, example=example)


@corpus.command(
    "cost",
    epilog="""
[bold]Quantities[/bold]   step3vl corpus cost runs/sample --tokens 1.2T

[bold]Prices[/bold]       step3vl corpus cost runs/sample --tokens 1.2T --core-hour 0.04 --terabyte 23

[bold]On GPUs[/bold]      step3vl corpus cost runs/sample --tokens 1.2T --gpus 1 --gpu-speedup 20 --gpu-hour 2
""",
)
def cost(
    dataset: DatasetUrl,
    tokens: Annotated[str, typer.Option(metavar="COUNT", help="Tokens of the corpus, such as 300B or 1.2T.")],
    root: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the run was staged; by default DATASET/.staging.")
    ] = None,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of a model worker; 0: models run on cores.")] = 0,
    gpu_speedup: Annotated[
        float, typer.Option(min=0.001, help="How many times as fast as in the run a model worker then is.")
    ] = 1,
    core_hour: Annotated[float, typer.Option(min=0, metavar="PRICE", help="Of an hour of a core.")] = 0,
    gpu_hour: Annotated[float, typer.Option(min=0, metavar="PRICE", help="Of an hour of a GPU.")] = 0,
    terabyte: Annotated[float, typer.Option(min=0, metavar="PRICE", help="Of 10^12 bytes kept.")] = 0,
    million_requests: Annotated[
        float, typer.Option(min=0, metavar="PRICE", help="Of 10^6 requests to the store.")
    ] = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Compute from a small run what a corpus of so many tokens costs, entry by entry: hours, bytes, requests, money.

    DATASET is the result of `corpus build --fraction 0.01` or the like, with its root still there.
    """
    with command_context("interrupted"):
        from step3vl.workflows.corpus_build import cost_command

        prices = {
            "core_hour": core_hour,
            "gpu_hour": gpu_hour,
            "terabyte": terabyte,
            "million_requests": million_requests,
        }
        cost_command(dataset, tokens, root, gpus=gpus, gpu_speedup=gpu_speedup, prices=prices, markdown=markdown)


@corpus.command(
    "concepts",
    epilog="""
[bold]Count[/bold]        step3vl corpus concepts 'laion/*.parquet' --list concepts.txt --out counts.tsv

[bold]Then, in an entry of knowledge.pairs[/bold]   balance: {counts: counts.tsv, cap: 20000}
""",
)
def concepts(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES...", help="Patterns of Parquet tables and img2dataset's tars, paths or URLs."),
    ],
    names: Annotated[str, typer.Option("--list", metavar="FILE", help="The concepts, one a line.")],
    out: Annotated[str, typer.Option(metavar="FILE", help="The table of counts, a path or URL.")],
    beam_option: Annotated[
        list[str] | None, typer.Option(metavar="OPTION", help="One of Beam's own; may be repeated.")
    ] = None,
) -> None:
    """Count in how many captions each concept occurs: the first pass of concept balance."""
    with command_context("interrupted"):
        from step3vl.pipelines.concept_counts import count_concepts_of

        captions, concept_count = count_concepts_of(files, names, out, beam_options=tuple(beam_option or ()))
        typer.echo(f"{captions} captions, {concept_count} concepts: {out}")


@corpus.command("clean", epilog="Example:  step3vl corpus clean runs/corpus")
def clean(
    dataset: DatasetUrl,
    config: Annotated[
        Path | None, typer.Option(metavar="CONFIG", help="The YAML file, if it names a `root` elsewhere.")
    ] = None,
) -> None:
    """Remove what a finished dataset was made from: all that is under its root. The next build starts from nothing."""
    with command_context("interrupted"):
        from step3vl.workflows.corpus_build import clean_command

        clean_command(dataset, config)


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
    source_format: Annotated[Format, typer.Option("--from", metavar="FORMAT", help="The format of SRC.")],
    out_format: Annotated[Format, typer.Option("--to", metavar="FORMAT", help="The format of OUT.")] = "dataset",
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder of relative image paths; by default, that of SRC.")
    ] = None,
    domain: Annotated[str, typer.Option(help="Domain of records without one.")] = "converted",
    task: Annotated[
        str | None, typer.Option(help="Task of records without one; from a dataset, the pattern of tasks to convert.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of records without one, as an SPDX identifier.")] = "unknown",
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
    force: Force = False,
) -> None:
    """Convert records of other formats to a dataset, or back; every record is written or accounted for."""
    with command_context("interrupted; nothing was committed"):
        from step3vl.workflows.corpus_commands import convert_corpus

        convert_corpus(
            source,
            out,
            source_format,
            out_format,
            defaults={"domain": domain, "task": task, "licence": licence, "images": images},
            split=split,
            dataset={"tokenizer": tokenizer, "shards": shards, "heldout": heldout, "name": name},
            force=force,
        )


@corpus.command(
    "curate",
    epilog="""
[bold]With the defaults[/bold]     step3vl corpus curate runs/corpus --out runs/curated

[bold]Several at once[/bold]       step3vl corpus curate runs/web runs/books --out runs/curated --config curation.yaml

[bold]Against an earlier[/bold]    step3vl corpus curate runs/new --out runs/more --set 'against=[runs/curated]'
""",
)
def curate(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET...", help="Datasets: folders or fsspec URLs.")],
    out: BuildOut,
    config: Annotated[Path | None, typer.Option(metavar="CONFIG", help="The YAML file; by default, defaults.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A field to change; may be repeated."),
    ] = None,
) -> None:
    """Drop exact and near-duplicates from datasets, over all of them at once; every drop names the sample it repeats.

    The result is a new dataset, with the evidence beside it.
    """
    with command_context(INTERRUPTED):
        from step3vl.workflows.corpus_build import curate_command

        curate_command(datasets, out, config, overrides or [])


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
    samples: Annotated[int, typer.Option(min=1, help="Samples on a contact sheet.")] = 16,
) -> None:
    """Show what is in a dataset: samples, tokens, tasks, how diverse they are, and what became of every record."""
    with command_context("interrupted"):
        from rich.console import Console

        from step3vl.data.dataset import Dataset
        from step3vl.data.inspect import print_dataset, write_card, write_task_sheets

        opened = Dataset.open(dataset)
        if sheets is not None:
            for name in write_task_sheets(opened, sheets, samples, task):
                typer.echo(f"{sheets}/{name}")
            return
        print_dataset(opened, Console())
        if card is not None:
            write_card(opened, card)


@corpus.command("verify-labels", epilog="Example:  step3vl corpus verify-labels runs/tiny/corpus --samples 100")
def verify_labels(
    dataset: DatasetUrl,
    samples: Annotated[int, typer.Option(min=1, help="Random samples of each task, at most.")] = 200,
    task: Task = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
) -> None:
    """Measure the error rate of the labels of each task, by the independent checks that domains offer.

    The result is kept beside the dataset, where its card and `corpus inspect` show it; with --task it is only printed.
    """
    with command_context("interrupted; nothing was written"):
        from step3vl.workflows.corpus_commands import measure_label_errors

        measure_label_errors(dataset, samples, seed, task)


@corpus.command("verify", epilog="Example:  step3vl corpus verify runs/tiny/corpus --workers 4")
def verify(
    dataset: DatasetUrl,
    images: Annotated[bool, typer.Option(help="Decode every image, or only check hashes.")] = True,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
) -> None:
    """Check every byte of a dataset, and list what is wrong with it; the exit code is then 1."""
    with command_context("interrupted"):
        from step3vl.workflows.corpus_commands import verify_corpus

        verify_corpus(dataset, images=images, workers=workers)


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
    oversize: Annotated[Oversize, typer.Option(help="What becomes of samples longer than a pack.")] = "drop",
    packs: Annotated[int | None, typer.Option(min=1, help="Check only the first packs of an epoch.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order.")] = 0,
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
    after: Annotated[str, typer.Argument(metavar="B", help="Another dataset.")],
) -> None:
    """Show what changed from A to B: samples by task, configuration and code. If anything did, the exit code is 1."""
    with command_context("interrupted"):
        from step3vl.workflows.corpus_commands import diff_corpora

        diff_corpora(before, after)


@corpus.command("merge", epilog="Example:  step3vl corpus merge runs/a runs/b runs/both")
def merge(
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASET DATASET... OUT", help="Datasets, then the new one.")
    ],
    shards: Shards = None,
    name: Name = None,
    force: Force = False,
) -> None:
    """Merge datasets into OUT: each sample once, held-out samples still held out, all ledgers added up."""
    with command_context("interrupted; nothing was committed"):
        from step3vl.workflows.corpus_commands import merge_corpora

        merge_corpora(datasets, name, shards, force)


@corpus.command("split", epilog="Example:  step3vl corpus split runs/corpus runs/resplit --heldout 0.1")
def split(
    dataset: DatasetUrl,
    out: Out,
    heldout: Annotated[float, typer.Option(min=0, max=1, help="The fraction held out, by the hash of the id.")],
    shards: Shards = None,
    name: Name = None,
    force: Force = False,
) -> None:
    """Split a dataset again into training and held-out samples."""
    with command_context("interrupted; nothing was committed"):
        from step3vl.workflows.corpus_commands import split_corpus

        split_corpus(dataset, out, heldout, name, shards, force)


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
