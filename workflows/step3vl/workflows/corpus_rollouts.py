"""`corpus rollouts`: how often a model solves each sample, as a curation with the filter `rollouts` alone."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from rich.console import Console

from step3vl.data.inspect import ledger_table, print_sections
from step3vl.evaluation.model_identity import folder_fingerprint
from step3vl.inference.client import OpenAIBackend, run_sync
from step3vl.inference.server import ServerConfig
from step3vl.inference.server.serve import listen, make_server
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.curate import curate
from step3vl.pipelines.layout import STAGING, absolute_url
from step3vl.workflows.backends import open_backend
from step3vl.workflows.config import validate
from step3vl.workflows.serve import BACKEND_KEY

_HOST = "127.0.0.1"


def rollouts_command(
    datasets: Sequence[str],
    model: str,
    out: str,
    *,
    tasks: Sequence[str],
    samples: int,
    solved: int,
    temperature: float,
    max_new_tokens: int,
    concurrency: int,
    port: int,
    overrides: dict[str, object],
) -> None:
    """Measure pass rates and print what became of every sample. Arguments are those of ``step3vl corpus rollouts``."""
    url = model.rstrip("/") if model.startswith(("http://", "https://")) else None
    name = _remote_name(url) if url else _local_name(Path(model))
    endpoint = {
        "url": f"{url.removesuffix('/v1')}/v1" if url else f"http://{_HOST}:{port}/v1",
        "model": name,
        "cache": f"{absolute_url(out)}/{STAGING}/rollouts",
        "api_key_env": BACKEND_KEY if url and BACKEND_KEY in os.environ else None,
        "options": {"temperature": temperature},
        "max_tokens": max_new_tokens,
        "concurrency": concurrency,
        "timeout": 3600.0,
    }
    rollouts = {"endpoint": endpoint, "samples": samples, "solved": solved}
    filters = {pattern: {"rollouts": rollouts} for pattern in tasks}
    config = validate({"near": None, "images": None, "filters": filters}, overrides, CurationConfig, Path("rollouts"))
    if url:
        dataset = curate(datasets, out, config)
    else:
        with _served(model, name, port):
            dataset = curate(datasets, out, config)
    print_sections([ledger_table(dataset.manifest.ledger)], Console())


def _remote_name(url: str) -> str:
    backend = OpenAIBackend(url, None, api_key=os.environ.get(BACKEND_KEY))
    try:
        run_sync(backend.resolve_model())
        return backend.name
    finally:
        run_sync(backend.close())


def _local_name(folder: Path) -> str:
    """The name and the weights of a model folder: it addresses the rollouts that are kept."""
    return f"{folder.resolve().name}-{folder_fingerprint(folder)[:12]}"


@contextmanager
def _served(model: str, name: str, port: int) -> Iterator[None]:
    """The engine of this process behind HTTP, as `step3vl serve` runs it. Raises UserError where the port is taken."""
    config = ServerConfig()
    listener = listen(_HOST, port, config.stall)
    backend = open_backend(model, None, None)
    server = make_server({name: backend}, config, drain=0)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="rollouts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
