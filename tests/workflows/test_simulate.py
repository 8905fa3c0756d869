"""`corpus simulate` on a dataset and on a training configuration."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from step3vl.data.dataset import Counting, Dataset, commit, shard_name, write_shard
from step3vl.data.errors import UserError
from step3vl.data.sample import ImageSpec, Sample, Source, TokenCount, conversation, text
from step3vl.workflows.cli import app
from step3vl.workflows.simulate import parse_bytes, parse_seconds

CONFIG = """
output: ${root}/pretrain
init: models/absent
seed: 3
phases:
  - {tokens: 2000, lr_start: 1e-4, lr_end: 1e-5, mixture: {sources: [{dataset: DATASET, task: "sums.*"}]}}
  - {tokens: 2000, lr_start: 1e-5, lr_end: 1e-6, mixture: {sources: [{dataset: DATASET, where: "task == 'chat'"}]}}
data: {sequence_length: 64, global_batch: 4}
engine: {processes: 2}
"""


@pytest.fixture(scope="module")
def dataset(made_once: Callable[[str, Callable[[Path], object]], Path]) -> str:
    def make(folder: Path) -> Dataset:
        source = Source(uri="synthetic", licence="CC0-1.0", collected_by="synthetic")
        samples = [
            Sample.make(
                domain="synthetic",
                task="sums.two" if number % 2 else "chat",
                messages=conversation((text("Which?"),), str(number)),
                source=source,
            ).model_copy(update={"tokens": TokenCount(text=9 + number % 20, image=0)})
            for number in range(200)
        ]
        samples.sort(key=lambda sample: sample.id)
        shards = [write_shard(folder, shard_name("small", "train", 0, 1), "train", samples)]
        counting = Counting(tokenizer="qwen3", tokenizer_sha256="0" * 64, image=ImageSpec())
        options = {"ledger": (), "counting": counting, "config": {}, "code_version": "test"}
        return commit(folder, name="small", shards=shards, **options)

    return str(made_once("simulated", make))


def simulate(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["corpus", "simulate", *map(str, arguments)], env={"COLUMNS": "160"})
    if code == 0:
        assert done.exit_code == 0, done.output
    return done


def test_a_dataset_is_simulated_and_shown_on_a_page(dataset: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    options = ("--nodes", 2, "--ranks", 2, "--length", 64, "--batches", 5, "--cache", "1GB", "--out", page)
    done = simulate(dataset, *options)
    assert "5 batches of 2 nodes with 2 ranks each" in done.output
    assert f"{page}: written" in done.output
    assert "sums.two" in page.read_text() and "chat" in page.read_text()
    only = simulate(dataset, "--length", 64, "--batches", 2, "--ranks", 1, "--where", "task != 'chat'")
    assert "chat" not in only.output and "sums.two" in only.output


def test_a_configuration_decides_the_plan_and_options_the_machines(dataset: str, tmp_path: Path) -> None:
    config = tmp_path / "pretrain.yaml"
    config.write_text(CONFIG.replace("DATASET", dataset))
    done = simulate(config, "root=runs", "--nodes", 2, "--batches", 1000)
    assert "2 nodes with 2 ranks each, the whole plan" in " ".join(done.output.split())
    assert "chat" in done.output and "sums.two" in done.output
    assert "2 nodes with 1 rank each" in simulate(config, "root=runs", "--nodes", 2, "--ranks", 1).output
    first = simulate(config, "root=runs", "phases.1.tokens=1", "--nodes", 2, "--batches", 1000)
    assert first.output != done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("seed=1",), "'seed=1' changes a field of a configuration"),
        (("--where", "language == 'zh'"), "there is no column 'language'"),
        (("--cache", "many"), "--cache 'many': write it as 200GB"),
        (("--cache", "1KB"), "holds no"),
        (("--latency", "soon"), "--latency 'soon': write it as 30ms"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], message: str, dataset: str) -> None:
    done = simulate(dataset, "--length", 64, *arguments, code=2)
    assert isinstance(done.exception, UserError) or done.exit_code == 2
    assert message in f"{done.output}{done.exception}"


def test_sizes_and_times_are_read_as_people_write_them() -> None:
    assert [parse_bytes(value, "--cache") for value in ("200GB", "4MiB", "10Gbit/s", "1.5 k", "12")] == [
        *(200 * 10**9, 4 * 2**20, 1_250_000_000, 1500, 12)
    ]
    assert [parse_seconds(value, "--latency") for value in ("30ms", "0.03", "2 s")] == [0.03, 0.03, 2.0]
