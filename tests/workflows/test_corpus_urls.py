"""The corpus commands on datasets in stores: a real S3 server and a real HTTP server, each 30 ms away."""

import gzip
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
import yaml
from tests.data.storage.test_store import serving
from tests.workflows.conftest import png
from typer.testing import CliRunner

from step3vl.data.dataset import Dataset, read_dead_letters, split_of
from step3vl.data.errors import UserError
from step3vl.data.storage import StoreConfig
from step3vl.data.tokens import fingerprint, load_tokenizer
from step3vl.workflows.cli import app
from step3vl.workflows.corpus_cli import corpus as corpus_commands

LATENCY = 0.03
BUCKET = "far-corpora"


@contextmanager
def delayed(url: str) -> Iterator[str]:
    """The URL of a proxy that passes on each message to a server after some time."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = urlsplit(url).hostname, urlsplit(url).port

    def pump(source: socket.socket, target: socket.socket, latency: float) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(latency)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(address)
                for arguments in ((client, server, LATENCY), (server, client, 0)):
                    threading.Thread(target=pump, args=arguments, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


@pytest.fixture(scope="module")
def corpus(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, counted with the tokenizer that it names, beside which there is a table of captions."""
    copy = Path(shutil.copytree(corpus, tmp_path_factory.mktemp("copy") / "set"))
    manifest = copy / "dataset.json"
    manifest.write_text(manifest.read_text().replace("0" * 64, fingerprint(load_tokenizer("qwen3"))))
    pq.write_table(pa.table({"caption": ["a red fox", "a blue cat"], "url": ["u", "v"]}), copy / "pairs.parquet")
    return copy


@pytest.fixture(scope="module")
def http(corpus: Path) -> Iterator[str]:
    """The URL of the dataset."""
    with serving(corpus) as server, delayed(server.url) as url:
        yield url


@pytest.fixture(scope="module")
def endpoint(s3_server: Callable[..., Any]) -> Iterator[str]:
    """The URL of an S3 server with a bucket; the credentials are in the environment, as on users' machines."""
    with (
        s3_server(BUCKET) as options,
        delayed(options["client_kwargs"]["endpoint_url"]) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ACCESS_KEY_ID", options["key"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
        yield url


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["corpus", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def ids(dataset: Dataset, split: str | None = None) -> set[str]:
    return set(dataset.index(["id"], split=split)["id"].to_pylist())  # type: ignore[arg-type]


@pytest.mark.slow
def test_in_and_out_of_every_command_may_be_a_url(corpus: Path, http: str, endpoint: str, tmp_path: Path) -> None:
    store = "--store", f"endpoint={endpoint}", "--store", "attempts=2"
    near, far = Dataset.open(corpus), f"s3://{BUCKET}/split"
    assert "written" in run("split", http, far, "--heldout", 0.4, "--shards", 3, "--workers", 2, *store)
    config = StoreConfig(endpoint=endpoint)
    opened = Dataset.open(far, config)
    held = {sample_id for sample_id in ids(near) if split_of(sample_id, 0.4) == "heldout"}
    assert ids(opened) == ids(near) and ids(opened, "heldout") == held
    assert "every byte is what was committed" in run("verify", far, "--workers", 2, *store)

    output = run("diff", http, far, *store, code=1)
    assert "to held-out" in output and "added" in output

    both = f"s3://{BUCKET}/both"
    assert "written" in run("merge", corpus, far, http, both, "--shards", 2, *store)
    merged = Dataset.open(both, config)
    assert ids(merged) == ids(near) and ids(merged, "heldout") == held | ids(near, "heldout")
    assert merged.manifest.ledger[-1].dropped == {"duplicate": 2 * len(ids(near))}

    assert "written" in run("split", both, tmp_path / "back", "--heldout", 0.4, *store)
    assert "every byte is what was committed" in run("verify", tmp_path / "back")

    assert "Ledger" in run("inspect", both, "--card", f"s3://{BUCKET}/card", *store)
    assert fsspec.filesystem("s3", endpoint_url=endpoint).exists(f"{BUCKET}/card/card.md")

    with pytest.raises(UserError, match=rf"{both} already holds a dataset"):
        CliRunner().invoke(app, ["corpus", "split", http, both, "--heldout", "0.1", *store], catch_exceptions=False)
    with pytest.raises(UserError, match=rf"--force renames an earlier dataset, which {both} cannot be"):
        CliRunner().invoke(
            app, ["corpus", "split", http, both, "--heldout", "0.1", "--force", *store], catch_exceptions=False
        )


@pytest.fixture(scope="module")
def far(corpus: Path, endpoint: str, http: str) -> str:
    """The URL of a folder in the bucket, with a dataset `set` and configurations; its server is in the environment."""
    files = fsspec.filesystem("s3", endpoint_url=endpoint, skip_instance_cache=True)
    files.put(str(corpus), f"{BUCKET}/far/set", recursive=True)
    files.put(str(corpus), f"{BUCKET}/far/forgetful", recursive=True)
    phase = {"tokens": 300, "lr_start": 1e-4, "lr_end": 1e-5, "mixture": {"sources": [{"dataset": http}]}}
    configs = {
        "train": {"output": "x", "init": "m", "phases": [phase], "data": {"sequence_length": 64, "global_batch": 1}},
        "build": {
            "name": "far",
            "domains": [{"domain": "education", "name": "sums", "count": 9, "families": {"chain_sum": {}}}],
        },
        "curate": {"shards": 1},
    }
    for name, config in configs.items():
        stored = config if name == "train" else {**config, "store": {"endpoint": endpoint}}
        files.pipe(f"{BUCKET}/far/{name}.yaml", yaml.safe_dump(stored).encode())
    files.pipe(f"{BUCKET}/far/concepts.txt", b"red fox\nblue cat\n")
    return f"s3://{BUCKET}/far"


SET = "{far}/set"
ONE_REPLY = ("--samples", 1, "--solved", 0, "--max-new-tokens", 2, "--task", "counting", "--port", 8797)
ONE_RANK = ("--ranks", 1, "--length", 64, "--batches", 3)
# What is typed, the exit code, and words of the output. A command with a configuration has the store in it.
COMMANDS: list[tuple[tuple[object, ...], int, str]] = [
    (("inspect", "{http}", "--sheets", "{far}/sheets"), 0, "{far}/sheets/counting.png"),
    (("inspect", SET, "--where", "images > 0"), 0, "selects 20 of 20 samples"),
    (("ledger", "{http}"), 0, "every record is accounted for"),
    (("ledger", SET), 0, "every record is accounted for"),
    (("balance", "{http}", SET, "--tokens", "1M"), 0, "tokens are missing"),
    (("explain", "{http}", "{id}"), 0, "kept"),
    (("explain", SET, "{id}"), 0, "kept"),
    (("verify-labels", "{http}", "--samples", 2), 0, "the result is not kept beside it"),
    (("verify-labels", SET, "--samples", 2), 0, "Label errors"),
    (("doctor", "{http}", "--length", 64), 1, "a run would not train on everything"),
    (("doctor", SET, "--length", 64), 1, "a run would not train on everything"),
    (("export-index", SET, "wids"), 0, "{far}/set/wids-train.json"),
    (("simulate", "{http}", *ONE_RANK, "--out", "{far}/page.html"), 0, "{far}/page.html: written"),
    (("simulate", "{far}/train.yaml", "--batches", 3, "--out", "{far}/run.html"), 0, "{far}/run.html: written"),
    (("forget", "{far}/forgetful", "{id}"), 0, "{far}/forgetful"),
    (("split", "{far}/forgetful", "{far}/rest", "--heldout", 0.5, "--shards", 1), 0, "{far}/rest: written"),
    (("plan", "{far}/build.yaml", "--out", "{far}/built"), 0, "far in {far}/built"),
    (("curate", "{http}", "{far}/rest", "--config", "{far}/curate.yaml", "--out", "{far}/curated"), 0, "Ledger"),
    (("ledger", "{far}/curated", "--by", "task"), 0, "counting"),
    (("rollouts", "{http}", "{model}", "--out", "{far}/measured", *ONE_REPLY), 0, "Ledger"),
    (("concepts", "{http}/pairs.parquet", "--list", "{far}/concepts.txt", "--out", "{far}/n.tsv"), 0, "2 concepts"),
]
OPTIONS: dict[str, tuple[str, ...]] = {"plan": (), "curate": (), "rollouts": ("--set", "store.endpoint=")}
ELSEWHERE = {
    *("verify", "diff", "merge", "split"),  # above
    *("build", "cost", "clean", "retry"),  # tests of builds and curations
    *("view", "convert"),  # tests of their own
    *("domains", "schema"),  # which read and write no file
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_other_command_takes_urls(
    corpus: Path, model: Path, http: str, far: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another, because some read what others wrote."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)  # of configurations, which are read before their own store
    names = {"http": http, "far": far, "id": min(ids(Dataset.open(corpus))), "model": model}
    for arguments, code, words in COMMANDS:
        typed = [str(argument).format_map(names) for argument in arguments]
        option = OPTIONS.get(str(arguments[0]), ("--store", "endpoint="))
        output = run(*typed, *option[:-1], *(f"{each}{endpoint}" for each in option[-1:]), code=code)
        assert words.format_map(names) in output, typed
    files = fsspec.filesystem("s3", endpoint_url=endpoint, skip_instance_cache=True)
    assert b"red fox\t1" in files.cat(f"{far}/n.tsv")
    assert b"<svg" in files.cat(f"{far}/run.html")
    measured = Dataset.open(f"{far}/measured", StoreConfig(endpoint=endpoint)).samples()
    assert {sample.task for sample in measured if "pass_rate" in sample.scores} == {"counting"}
    assert names["id"] not in ids(Dataset.open(f"{far}/rest", StoreConfig(endpoint=endpoint)))


def test_no_command_is_left_out() -> None:
    listed = set(typer.main.get_group(corpus_commands).commands)
    assert listed == {str(arguments[0]) for arguments, _, _ in COMMANDS} | ELSEWHERE


@pytest.mark.parametrize("arguments", [("forget", "{http}", "example.org"), ("export-index", "{http}", "energon")])
def test_writing_over_http_is_refused_at_once(arguments: tuple[str, ...], http: str) -> None:
    typed = [argument.format(http=http) for argument in arguments]
    with pytest.raises(UserError, match=r"cannot be written: over HTTP datasets are only read; copy the dataset"):
        CliRunner().invoke(app, ["corpus", *typed], catch_exceptions=False)


def test_records_and_their_images_are_read_from_urls_and_written_to_them(endpoint: str, tmp_path: Path) -> None:
    files = fsspec.filesystem("s3", endpoint_url=endpoint)
    root = f"{BUCKET}/raw"
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "A square."}]
    names = ["a/0.png", f"s3://{root}/a/1.png", "a/none.png", "../a.png", "s3://elsewhere/a.png"]
    records = [{"image": name, "conversations": turns} for name in names]
    files.pipe(
        {
            f"{root}/a/0.png": png(4),
            f"{root}/a/1.png": png(8),
            f"{root}/b/data.json": json.dumps(records).encode(),
        }
    )
    store = "--store", f"endpoint={endpoint}", "--images", f"s3://{root}", "--workers", 1
    far = f"s3://{BUCKET}/converted"
    assert f"{far}: written" in run("convert", f"s3://{root}/**/*.json", far, "--shards", 1, *store)
    config = StoreConfig(endpoint=endpoint)
    dataset = Dataset.open(far, config)
    assert dataset.manifest.ledger[0].failed == {"ValueError": 3}
    reasons = [letter.reason for letter in read_dead_letters(far, config)]
    assert "no such image" in reasons[0] and all("leads out of the folder" in reason for reason in reasons[1:])

    messages = f"s3://{BUCKET}/messages"
    run("convert", far, messages, "--to", "llava", *store)
    assert f"{BUCKET}/messages/_account/ledger.json" in files.find(f"{BUCKET}/messages")
    run("convert", messages, tmp_path / "back", "--shards", 1, *store, "--images", messages)
    back = Dataset.open(tmp_path / "back")
    assert ids(back) == ids(dataset)
    assert [s.images[0].read() for s in back.samples()] == [s.images[0].read() for s in dataset.samples()]
    with pytest.raises(UserError, match="holds files already"):
        CliRunner().invoke(
            app, ["corpus", "convert", far, messages, "--to", "llava", *map(str, store)], catch_exceptions=False
        )
    with pytest.raises(UserError, match="a pair is a document"):
        CliRunner().invoke(
            app, ["corpus", "convert", far, f"s3://{BUCKET}/pairs", "--to", "webdataset", *map(str, store)],
            catch_exceptions=False,
        )  # fmt: skip
    assert not files.find(f"{BUCKET}/pairs")


def test_records_are_read_over_http(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "A square."}]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.png").write_bytes(png(4))
    lines = [json.dumps({"image": name, "conversations": turns}) for name in ("0.png", "none.png")]
    (tmp_path / "in" / "data.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    with serving(tmp_path / "in") as server, delayed(server.url) as url:
        run("convert", f"{url}/data.jsonl.gz", tmp_path / "out", "--shards", 1, "--workers", 1)
    (sample,) = Dataset.open(tmp_path / "out").samples()
    assert sample.images[0].read() == png(4) and sample.source.uri == "data.jsonl.gz#1"


def test_a_public_bucket_is_read_without_credentials_through_a_cache(
    corpus: Path, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fsspec.filesystem("s3", endpoint_url=endpoint, skip_instance_cache=True)
    files.put(str(corpus), f"{BUCKET}/public", recursive=True, ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    cache = tmp_path / "cache"
    store = "--store", f"endpoint={endpoint}", "--store", "anonymous=true", "--store", f"cache={cache}"
    output = run("diff", corpus, f"s3://{BUCKET}/public", *store)
    assert "no difference" in output
    assert any(cache.rglob("*")), "the indexes are kept"


def test_a_profile_has_credentials_of_its_own(endpoint: str, corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "set")
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = k\naws_secret_access_key = s\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        store = "--store", f"endpoint={endpoint}", "--store", "profile=lab"
        assert "written" in run("split", tmp_path / "set", f"s3://{BUCKET}/lab", "--heldout", 0, *store)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("endpoints=x", "--store endpoints: Extra inputs are not permitted"),
        ("attempts=0", "--store attempts: Input should be greater than or equal to 1; found 0"),
        ("anonymous", "'anonymous': not an override; write key=value"),
    ],
)
def test_a_wrong_store_option_is_named(corpus: Path, option: str, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        CliRunner().invoke(app, ["corpus", "verify", str(corpus), "--store", option], catch_exceptions=False)
