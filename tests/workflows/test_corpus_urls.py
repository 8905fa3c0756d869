"""The corpus commands on datasets in stores: a real S3 server and a real HTTP server, each 30 ms away."""

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
import pytest
from tests.data.storage.test_store import serving
from typer.testing import CliRunner

from step3vl.data.dataset import Dataset, split_of
from step3vl.data.errors import UserError
from step3vl.data.storage import StoreConfig
from step3vl.workflows.cli import app

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
