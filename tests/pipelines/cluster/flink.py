"""`make test-flink`: a small corpus on a Flink within Beam's job server, byte for byte as one process builds it.

Needs Java and the job server: `FLINK_JOB_SERVER_JAR=PATH`, or `maven`, from where Beam then downloads it. Where either
is missing, it says so and succeeds.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from blake3 import blake3

ROOT = Path(__file__).parents[3]
JAR = "beam-runners-flink-1.20-job-server-2.77.0.jar"
SMALL = {"image_size": [64, 64]}
CORPUS: dict[str, Any] = {
    "name": "flink",
    "shards": 3,
    "heldout": 0.2,
    "tokens": {"tokenizer": {"train": 320}},
    "models": {"engine": "beam"},
    "domains": [
        {"name": "icons", "domain": "grounding", "count": 600, "tasks": {"grounding.point": 1}, **SMALL},
        {"name": "sums", "domain": "education", "count": 600, "modality": "text", "families": {"chain_sum": {}}},
        {
            "name": "pages",
            "domain": "ocr.document_to_text",
            "kind": "document",
            "max_pages": 2,
            "max_side": 256,
            "sources": [{"files": [str(ROOT / "data/samples/documents/*.pdf")], "licence": "LPPL-1.3c"}],
        },
    ],
}


def flink_options(jar: str, pool: str) -> list[str]:
    """The options of Beam for a Flink within the job server."""
    flink = ["--runner=FlinkRunner", "--flink_master=[local]", "--flink_version=1.20", "--parallelism=2"]
    server = [] if jar == "maven" else [f"--flink_job_server_jar={jar}"]
    return [*flink, *server, "--environment_type=EXTERNAL", f"--environment_config={pool}"]


@contextmanager
def worker_pool(folder: Path, port: int = 50123) -> Iterator[str]:
    """A pool of workers on this machine."""
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the pool starts workers as `python`
    with (folder / "pool.log").open("wb") as log:
        pool = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "PATH": path})
    try:
        yield f"localhost:{port}"
    finally:
        pool.terminate()
        pool.wait(30)


def build(folder: Path, name: str, options: Sequence[str]) -> dict[str, str]:
    """The hash of every file of the dataset that is built with these options of Beam."""
    config, out = folder / f"{name}.yaml", folder / name
    config.write_text(yaml.safe_dump({**CORPUS, "beam_options": list(options)}))
    start = time.monotonic()
    step3vl = Path(sys.executable).with_name("step3vl")
    subprocess.run([step3vl, "corpus", "build", config, "--out", out], cwd=ROOT, check=True)
    print(f"{name}: {time.monotonic() - start:.0f} seconds", flush=True)
    files = (path for path in out.rglob("*") if path.is_file() and ".staging" not in path.parts)
    return {str(path.relative_to(out)): blake3(path.read_bytes()).hexdigest() for path in files}


def missing(jar: str) -> str | None:
    """What this machine lacks."""
    if not shutil.which("java"):
        return "there is no `java`, 11 or 17, on this machine"
    if not jar:
        return f"FLINK_JOB_SERVER_JAR is not set: give the path of {JAR}, or `maven` to let Beam download it"
    return None if jar == "maven" or Path(jar).is_file() else f"there is no file {jar}: give the path of {JAR}"


def main() -> None:
    jar = os.environ.get("FLINK_JOB_SERVER_JAR", "")
    if reason := missing(jar):
        print(f"SKIPPED, nothing was tested on Flink: {reason}")
        return
    with tempfile.TemporaryDirectory() as name, worker_pool(Path(name)) as pool:
        expected = build(Path(name), "in-one-process", ())
        actual = build(Path(name), "on-flink", flink_options(jar, pool))
    differing = sorted(path for path in expected | actual if expected.get(path) != actual.get(path))
    if differing:
        sys.exit(f"FAILED: these files differ between Flink and one process: {', '.join(differing)}")
    print(f"PASSED: {len(expected)} files have the same bytes")


if __name__ == "__main__":
    main()
