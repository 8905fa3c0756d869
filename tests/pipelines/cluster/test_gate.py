"""The gate: workers that share nothing but a faulty store build a corpus, byte for byte as one process does.

Its domains read files and numbers, have one step or several, models, and steps with time limits; `education` stands
for all that have one step on numbers. `make test-faults` builds every domain; each has processes with time limits,
whose starts take minutes in all.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from step3vl.data.errors import AGAIN
from step3vl.pipelines.domains import DOMAINS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent
GATE = ("education", "knowledge.interleaved", "ocr.document_to_text", "ocr.image_to_code")
SAMPLES = HERE.parents[2] / "data/samples"


@pytest.fixture(scope="module")
def objects(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """What `objects.py` prints."""
    folder = tmp_path_factory.mktemp("objects")

    def objects(*arguments: str) -> Any:
        log = folder / f"{time.monotonic_ns()}.json"
        command = [sys.executable, str(HERE / "objects.py"), json.dumps(cluster.store_options()), *arguments]
        output = cluster.run(*command, log=log).strip()
        return json.loads(output.splitlines()[-1]) if output else None

    return objects


@pytest.fixture(scope="module")
def command(
    cluster: Any, micro_corpus: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[str]]:
    """The command line of a build of the micro corpus into `s3://corpus/NAME`."""
    folder = tmp_path_factory.mktemp("configurations")

    def command(
        name: str, beam_options: tuple[str, ...] = (), faulty: bool = False, domains: Iterable[str] = GATE
    ) -> list[str]:
        store = {"options": cluster.store_options(faulty), "backoff": 0.1}
        config = folder / f"{name}.yaml"
        engines = {"models": {"engine": "beam"}, "beam_options": list(beam_options)}
        config.write_text(yaml.safe_dump(micro_corpus("s3://corpus/inputs", domains, store=store, **engines)))
        step3vl = Path(sys.executable).with_name("step3vl")
        return [str(step3vl), "corpus", "build", str(config), "--out", f"s3://corpus/{name}"]

    return command


def commits(cluster: Any, name: str) -> list[str]:
    """The commit records of fragments that a build has put into the store."""
    matches = (
        re.search(rf"PUT (/corpus/{name}/\.staging/\S+-[0-9a-f]{{20}}/\S+\.json) ", line)
        for line in cluster.requests()
    )
    return [match[1] for match in matches if match]


@pytest.fixture(scope="module")
def inputs(objects: Callable[..., Any]) -> None:
    objects("put", str(SAMPLES), "s3://corpus/inputs")


@pytest.fixture(scope="module")
def expected(
    inputs: None,
    cluster: Any,
    command: Callable[..., list[str]],
    objects: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """The hash of every object of the dataset that one process builds."""
    cluster.run(*command("reference"), log=tmp_path_factory.mktemp("reference") / "log")
    hashes: dict[str, str] = objects("hash", "s3://corpus/reference")
    return hashes


def test_the_job_service_builds_a_corpus_through_a_faulty_store_with_a_worker_killed_in_the_middle(
    cluster: Any,
    expected: dict[str, str],
    command: Callable[..., list[str]],
    objects: Callable[..., Any],
    tmp_path: Path,
) -> None:
    build, log = command("service", cluster.beam_options, faulty=True), tmp_path / "log"
    driver = cluster.start(*build, log=log)
    while len(commits(cluster, "service")) < 3:  # so there is more to do, and something not to do again
        assert driver.poll() is None, log.read_text()
        time.sleep(0.1)
    cluster.workers()[0].kill()
    killed = time.monotonic()
    assert driver.wait(180) != 0
    assert time.monotonic() - killed < 60
    error = log.read_text().strip().splitlines()[-1]
    assert "a Beam worker" in error and error.endswith(AGAIN)
    assert objects("hash", "s3://corpus/service") == {}

    earlier = commits(cluster, "service")
    cluster.run(*build, log=tmp_path / "resumed.log")
    assert objects("hash", "s3://corpus/service") == expected
    assert not set(earlier) & set(commits(cluster, "service")[len(earlier) :])  # no fragment was worked on again
    assert len(cluster.faults()) > 40


@pytest.mark.faults
def test_workers_on_two_machines_build_a_corpus_for_a_driver_that_is_the_job_service(
    cluster: Any,
    expected: dict[str, str],
    command: Callable[..., list[str]],
    objects: Callable[..., Any],
    tmp_path: Path,
) -> None:
    cluster.run(*command("pools", cluster.driver_options), log=tmp_path / "log")
    assert objects("hash", "s3://corpus/pools") == expected


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_the_job_service_builds_every_domain_through_a_faulty_store(
    inputs: None, cluster: Any, command: Callable[..., list[str]], objects: Callable[..., Any], tmp_path: Path
) -> None:
    domains = sorted(DOMAINS)
    cluster.run(*command("all-here", domains=domains), log=tmp_path / "here.log", seconds=1200)
    cluster.run(
        *command("all", cluster.beam_options, faulty=True, domains=domains), log=tmp_path / "log", seconds=2400
    )
    hashes = objects("hash", "s3://corpus/all")
    assert len(hashes) > 10 and hashes == objects("hash", "s3://corpus/all-here")
