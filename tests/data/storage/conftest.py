"""A real S3 server, and one store of each kind."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig


@pytest.fixture(scope="package")
def bucket(s3_server: Callable[..., Any]) -> Iterator[StoreConfig]:
    """How to reach an S3 server with a bucket `shelf`."""
    with s3_server("shelf") as options:
        yield StoreConfig(options=options, attempts=3, backoff=0.01)


@pytest.fixture
def make_store(tmp_path: Path, bucket: StoreConfig) -> Callable[[str], Store]:
    """make_store(scheme): an empty folder that is local, in memory or on S3."""

    def make(scheme: str) -> Store:
        url = {"local": str(tmp_path), "memory": f"memory:/{tmp_path}", "s3": f"s3://shelf{tmp_path}"}[scheme]
        return Store(url, bucket if scheme == "s3" else DEFAULT_STORE)

    return make
