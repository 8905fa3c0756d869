"""`step3vl corpus`: build, curate and account for datasets. What works on any dataset is `dataset_cli`."""

from typing import Annotated, Literal

import typer

from step3vl.workflows.command import (
    INTERRUPTED,
    SETTINGS,
    ConfigFile,
    DryRun,
    Overrides,
    StoreOptions,
    command_context,
    ordered_group,
    resolve_store,
)

corpus = typer.Typer(
    cls=ordered_group(
        *("build", "plan", "domains", "cost", "clean"),
        *("curate", "rollouts", "retry", "explain", "forget", "ledger", "balance"),
        *("convert", "inspect", "view", "verify", "verify-labels", "doctor", "diff", "merge", "split"),
        *("simulate", "export-index", "schema", "concepts"),
    ),
    help="Build a corpus from documents and images, convert others, and inspect them.",
    **SETTINGS,
)

BuildOut = Annotated[str, typer.Option(metavar="DIR", help="The dataset: a folder, or any fsspec URL.")]
DatasetUrl = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset: a folder, or any fsspec URL.")]


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
    store: StoreOptions = None,
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
        cost_command(
            dataset,
            tokens,
            root,
            gpus=gpus,
            gpu_speedup=gpu_speedup,
            prices=prices,
            markdown=markdown,
            store=resolve_store(store),
        )


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
    store: StoreOptions = None,
) -> None:
    """Count in how many captions each concept occurs: the first pass of concept balance."""
    with command_context("interrupted"):
        from step3vl.pipelines.concept_counts import count_concepts_of

        captions, concept_count = count_concepts_of(
            files, names, out, beam_options=tuple(beam_option or ()), store=resolve_store(store)
        )
        typer.echo(f"{captions} captions, {concept_count} concepts: {out}")


@corpus.command("clean", epilog="Example:  step3vl corpus clean runs/corpus")
def clean(
    dataset: DatasetUrl,
    config: Annotated[
        str | None, typer.Option(metavar="CONFIG", help="The YAML file, if it names a `root` elsewhere.")
    ] = None,
    store: StoreOptions = None,
) -> None:
    """Remove what a finished dataset was made from: all that is under its root. The next build starts from nothing."""
    with command_context("interrupted"):
        from step3vl.workflows.corpus_build import clean_command

        clean_command(dataset, config, resolve_store(store))


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
    config: Annotated[str | None, typer.Option(metavar="CONFIG", help="The YAML file; by default, defaults.")] = None,
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


@corpus.command(
    "rollouts",
    epilog="""
[bold]A model folder[/bold]   step3vl corpus rollouts runs/corpus runs/sft/export --out runs/measured --samples 8

[bold]A server[/bold]         step3vl corpus rollouts runs/corpus http://localhost:8000 --out runs/measured

[bold]Then the hard[/bold]    step3vl corpus curate runs/measured --out runs/hard
--set 'balance=[{by: score, score: pass_rate, edges: [0.75], caps: {"pass_rate >= 0.75": 0}}]'
""",
)
def rollouts(
    dataset: DatasetUrl,
    model: Annotated[
        str, typer.Argument(metavar="MODEL|URL", help="A model folder, or the address of an OpenAI-compatible server.")
    ],
    out: BuildOut,
    task: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Of tasks or domains, *; may be repeated.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, metavar="K", help="Rollouts of each sample.")] = 8,
    solved: Annotated[
        int, typer.Option(min=0, help="Samples with fewer right rollouts are dropped, for repair; 0 keeps all.")
    ] = 1,
    temperature: Annotated[float, typer.Option(min=0.0)] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest rollout; one that is cut is not right.")] = 4096,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Rollouts at a time of each worker.")] = 16,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where a model folder is served meanwhile.")] = 8799,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A field of `corpus curate` to change; may be repeated."),
    ] = None,
) -> None:
    """Measure how hard samples are: several rollouts of a model each, graded by their truths, as `scores.pass_rate`.

    The result is a new dataset. Samples that are never solved are in its evidence, with the most frequent reply.
    """
    with command_context(INTERRUPTED):
        from step3vl.workflows.config import parse_overrides
        from step3vl.workflows.corpus_rollouts import rollouts_command

        rollouts_command(
            [dataset],
            model,
            out,
            tasks=task or ["*"],
            samples=samples,
            solved=solved,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            concurrency=concurrency,
            port=port,
            overrides=parse_overrides(overrides or []),
        )


@corpus.command(
    "retry",
    epilog="""
[bold]A finished one[/bold]     step3vl corpus retry runs/corpus --failed

[bold]One that failed[/bold]    step3vl corpus retry runs/corpus --failed --config corpus.yaml

[bold]At a URL[/bold]           step3vl corpus retry s3://bucket/corpus --failed --out s3://bucket/corpus-2
""",
)
def retry(
    dataset: DatasetUrl,
    failed: Annotated[
        bool, typer.Option("--failed", help="Try again what failed; what was dropped or kept stays.")
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(metavar="CONFIG", help="The YAML file of the build or curation; by default, what it recorded."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="The new dataset; by default in place of DATASET, which is kept as NAME.1."),
    ] = None,
    store: StoreOptions = None,
) -> None:
    """Try the records again that a build failed on, or the samples that a curation could not read: them alone.

    What is made of them is added, and no other record is worked on again. A finished dataset is kept beside it.
    """
    with command_context(INTERRUPTED):
        from step3vl.workflows.corpus_retry import retry_command

        retry_command(dataset, config, out, resolve_store(store), failed=failed)


@corpus.command("explain", epilog="Example:  step3vl corpus explain runs/curated 0f3c…")
def explain(
    dataset: DatasetUrl,
    name: Annotated[
        str, typer.Argument(metavar="ID", help="Of a sample; or the source of a record, as in the dead letters.")
    ],
    store: StoreOptions = None,
) -> None:
    """Say step by step why a sample was kept or dropped, and what became of the one that it matched."""
    with command_context("interrupted"):
        from step3vl.data.dataset import Dataset
        from step3vl.workflows.curation_commands import explain_command

        explain_command(Dataset.open(dataset, resolve_store(store)), name)


@corpus.command(
    "forget",
    epilog="""
[bold]A page[/bold]     step3vl corpus forget runs/corpus https://example.org/page

[bold]A site[/bold]     step3vl corpus forget runs/corpus example.org

[bold]An image[/bold]   step3vl corpus forget runs/corpus $(sha256sum portrait.jpg | cut -d' ' -f1)
""",
)
def forget(
    dataset: DatasetUrl,
    values: Annotated[
        list[str],
        typer.Argument(metavar="URL|HOST|HASH...", help="Sources, hosts, ids of samples, or SHA-256 of images."),
    ],
    store: StoreOptions = None,
) -> None:
    """Exclude samples from a dataset: readers leave them out at once, and no later build or curation has them."""
    with command_context("interrupted; nothing was written"):
        from step3vl.data.dataset import Dataset
        from step3vl.workflows.curation_commands import forget_command

        forget_command(Dataset.open(dataset, resolve_store(store)), values)


@corpus.command("ledger", epilog="Example:  step3vl corpus ledger runs/curated --by task")
def ledger(
    dataset: DatasetUrl,
    by: Annotated[
        Literal["domain", "task", "source", "split"] | None,
        typer.Option(help="Of a curated dataset: look up every sample, and group them so."),
    ] = None,
    store: StoreOptions = None,
) -> None:
    """Prove that read = kept + dropped + failed: by step, or sample by sample. If it is not, the exit code is 1."""
    with command_context("interrupted"):
        from step3vl.data.dataset import Dataset
        from step3vl.workflows.curation_commands import ledger_command

        ledger_command(Dataset.open(dataset, resolve_store(store)), by)


@corpus.command(
    "balance",
    epilog="""
[bold]Both phases[/bold]   step3vl corpus balance runs/curated --tokens 900B --tokens 300B --temperature 0.7

[bold]With a cap[/bold]    step3vl corpus balance runs/web runs/ocr --tokens 1.2T --cap text=0.4 --epochs 2
""",
)
def balance(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET...", help="Datasets: folders or fsspec URLs.")],
    tokens: Annotated[
        list[str], typer.Option(metavar="COUNT", help="Tokens of a phase, such as 900B; may be repeated.")
    ],
    temperature: Annotated[
        float, typer.Option(min=0, max=1, help="The power of the sizes that shares follow; 0: all alike.")
    ] = 1.0,
    cap: Annotated[
        list[str] | None, typer.Option(metavar="DOMAIN=SHARE", help="Its largest share; may be repeated.")
    ] = None,
    epochs: Annotated[float, typer.Option(min=0.01, help="Passes over a domain in a phase, at most.")] = 4.0,
    store: StoreOptions = None,
) -> None:
    """Say how many tokens of each domain the phases of a run take, how often they repeat, and what is missing."""
    with command_context("interrupted"):
        from step3vl.data.dataset import Dataset
        from step3vl.workflows.curation_commands import balance_command

        config = resolve_store(store)
        opened = [Dataset.open(url, config) for url in datasets]
        balance_command(opened, tokens, temperature=temperature, caps=cap or [], epochs=epochs)
