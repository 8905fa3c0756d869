"""What a curation finds of what was planted in a large dataset, killed 20 times on the way; and what it costs.

    .venv/bin/python tests/benchmarks/curation_planted.py --samples 2000 --out runs/planted
    .venv/bin/python tests/benchmarks/curation_planted.py --samples 100000 --benchmarks 'benchmarks/GSM8K/*.jsonl.gz'

Datasets are made from a seed (`planted_corpus.py`); hostile files pass `corpus convert` (`planted_hostile.py`). Then
`corpus curate` runs as a process of its own, which is killed 20 times with all that it started, at random moments, and
started again until it is done. With `--compare` another one runs undisturbed, and both must leave the same bytes. The
report is Markdown.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import planted_hostile
import planted_report
import psutil
import yaml
from planted_corpus import Corpus

from step3vl.data.dataset import MANIFEST
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.curation.benchmarks import read_items
from step3vl.pipelines.curation.config import DecontaminateConfig

ROOT = Path(__file__).parents[2]
ITEMS = ROOT / "tests" / "pipelines" / "curation" / "items.jsonl"
STEP3VL = Path(sys.executable).with_name("step3vl")
START = 4.0  # CPU seconds that the command takes before it reads the first sample, where that was not measured
A_SAMPLE = 0.0025  # CPU seconds of a sample, for the kills of a run that was not measured
MIN_ITEM_WORDS = 16  # of an item that is planted: longer than an n-gram, so that edited ones can be found, too
NOT_COMPARED = (
    MANIFEST,
    "card.md",
    "card.html",
)  # they name the version of the code; the manifest is compared by field


class Run(NamedTuple):
    """What a command used."""

    code: int
    seconds: float
    """Of CPU, user and system, in all of its processes."""
    peak: float
    """Of the largest process, in MB."""
    output: str


def run(command: Sequence[str | Path], cwd: Path) -> Run:
    """Run a command to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = 0
    with (cwd / "output.txt").open("w+b") as output:
        process = subprocess.Popen(list(map(str, command)), cwd=cwd, stdout=output, stderr=subprocess.STDOUT, env=ENV)
        while process.poll() is None:
            peak = max(peak, _high_water(process.pid))
            time.sleep(0.1)
        output.seek(0)
        text = output.read().decode(errors="replace")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(process.returncode, seconds, peak / 1024, text)


def _high_water(pid: int) -> int:
    """The most memory in kB that a process or one of its children ever had; the kernel's figure, not a sample."""
    largest = 0
    with suppress(psutil.Error, OSError):  # it has ended
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            status = Path(f"/proc/{each.pid}/status").read_text()
            largest = max(largest, *map(int, re.findall(r"VmHWM:\s*(\d+)", status)), 0)
    return largest


ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def configuration(benchmarks: Sequence[str], images: Path, *, models: bool) -> dict[str, Any]:
    """The curation that is measured."""
    album = {"nsfw": {}} if models else {}
    return {
        "decontaminate": {"benchmarks": [*benchmarks, f"{images}/*.png"]},
        "filters": {
            "*": {"formatting": {}, "answer": {}, "image_size": {}, "blank": {}, "personal_data": {"regions": ["US"]}},
            "text": {"gopher": {}, "repetition": {}, "language": {"languages": ["en"]}},
            "knowledge": {"qr": {}},
            **({"album": album} if album else {}),
        },
        "failure_budget": 0.02,
    }


def digest(root: Path) -> dict[str, str]:
    """The hash of every file of a dataset, without what is kept to resume, and without the version of the code."""
    manifest = json.loads((root / MANIFEST).read_text())
    del manifest["code_version"]
    files = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".staging" not in path.parts and path.name not in NOT_COMPARED
    }
    return {**files, MANIFEST: json.dumps(manifest)}


def files_under(folder: Path) -> Iterator[Path]:
    """The files of a folder that other processes write into."""
    for path, _, names in os.walk(folder):
        yield from (Path(path) / name for name in names)


def kill_at_moments(
    command: Sequence[str | Path], cwd: Path, out: Path, seconds: float, start: float, kills: int, seed: int
) -> list[str]:
    """Start a curation so often, and kill all of its processes each time.

    Args:
        command: The same each time.
        cwd: Where it runs.
        out: The dataset that it writes.
        seconds: Of CPU that the kills are spread over: what a run takes that nothing disturbs, or about that.
        start: Of CPU that every start takes before it works on anything.
        kills: How often. Each start is killed after a random number of CPU seconds: seconds of the clock would say
            little on a loaded machine.
        seed: Of the moments.

    Returns:
        The newest file at each kill, by its folder: what the run was at.
    """
    rng = random.Random(f"{seed} kills")
    moments = []
    for _ in range(kills):
        limit = rng.uniform(0, 2 * (seconds / kills + start))
        process = subprocess.Popen(
            list(map(str, command)), cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENV,
            start_new_session=True,
        )  # fmt: skip
        while process.poll() is None and _cpu_seconds(process.pid) < limit:
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        moments.append(_newest(out) if process.returncode == -signal.SIGKILL else "it had ended")
    return moments


def _cpu_seconds(pid: int) -> float:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))
    return 0.0


def _newest(out: Path) -> str:
    newest, at = "nothing", 0.0
    for path in files_under(out):
        try:
            changed = path.stat().st_mtime
        except FileNotFoundError:  # it was a temporary file
            continue
        if changed > at:
            newest, at = str(path.relative_to(out).parent), changed
    parts = [part for part in Path(newest).parts if part not in (".staging", "curation") and len(part) != 20]
    return "/".join(parts) or newest


def require_equal(expected: Mapping[str, str], result: Mapping[str, str]) -> None:
    """Check that two datasets have the same files with the same bytes."""
    names = expected.keys() | result.keys()
    differ = sorted(name for name in names if expected.get(name) != result.get(name))
    if differ:
        raise SystemExit(f"{len(differ)} of {len(names)} files differ after the kills: {', '.join(differ[:5])}")


def require(result: Run, what: str) -> Run:
    """The result of a command that has to end well."""
    if result.code:
        raise SystemExit(f"{what} ended with {result.code}:\n{result.output}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20, help="of the run that is killed and started again")
    parser.add_argument("--compare", action="store_true", help="with an undisturbed run, which doubles the time")
    parser.add_argument("--benchmarks", nargs="*", default=[str(ITEMS)], help="files of benchmark items")
    parser.add_argument("--without-models", action="store_true", help="no NSFW: 0.03 CPU-seconds an image")
    parser.add_argument("--set", action="append", default=[], help="as of `corpus curate`; may be repeated")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "runs" / "planted", help="a folder; what is there is removed"
    )
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)

    start = time.process_time()
    patterns = [str(Path(pattern).resolve()) for pattern in arguments.benchmarks]
    items = benchmark_texts(patterns)
    corpus = Corpus(arguments.samples, arguments.seed, items, with_models=not arguments.without_models)
    corpus.benchmark_images(out / "benchmark-images")
    corpus.write(out / "planted")
    made = time.process_time() - start
    hostile = planted_hostile.write(out / "hostile")
    converted = require(run(convert_command(out), out), "corpus convert")

    config = configuration(patterns, out / "benchmark-images", models=not arguments.without_models)
    (out / "curation.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    settings = [part for value in arguments.set for part in ("--set", value)]

    def curate_into(name: str) -> list[str | Path]:
        return [
            STEP3VL,
            "corpus",
            "curate",
            "planted",
            "converted",
            "--out",
            name,
            "--config",
            "curation.yaml",
            *settings,
        ]

    costs = {"made": made, "convert": converted.seconds}
    peaks = {"convert": converted.peak}
    moments: list[str] = []
    killed = "killed" if arguments.compare else "curated"

    def measure(what: str, name: str) -> None:
        result = require(run(curate_into(name), out), what)
        costs[what], peaks[what] = result.seconds, result.peak

    if arguments.compare:
        measure("curate", "curated")
        measure("again", "curated")
    if arguments.kills:
        seconds, begin = costs.get("curate", arguments.samples * A_SAMPLE), costs.get("again", START)
        moments = kill_at_moments(
            curate_into(killed), out, out / killed, seconds, begin, arguments.kills, arguments.seed
        )
    measure("the rest after the last kill", killed)
    if not arguments.compare:
        measure("again", "curated")
    ledgers = {by: run([STEP3VL, "corpus", "ledger", "curated", *option], out) for by, option in LEDGERS.items()}
    if arguments.compare:
        require_equal(digest(out / "curated"), digest(out / "killed"))
    report = planted_report.Report(corpus, out, hostile)
    text = "\n".join([
        *report.lines(), *cost_lines(arguments, report.read, costs, peaks),
        *kill_lines(moments, compared=arguments.compare), *ledger_lines(ledgers),
    ])  # fmt: skip
    (out / "report.md").write_text(text + "\n")
    print(text)


LEDGERS: Mapping[str, Sequence[str]] = {"step": (), "domain": ("--by", "domain"), "task": ("--by", "task")}


def benchmark_texts(patterns: Sequence[str]) -> list[str]:
    """The distinct items that are long enough to be found after an edit."""
    config = DecontaminateConfig(benchmarks=tuple(patterns))
    texts = dict.fromkeys(item.text for item in read_items(config, str(Path.cwd()), DEFAULT_STORE))
    return [text for text in texts if MIN_ITEM_WORDS <= len(text.split()) <= 150]


def convert_command(out: Path) -> list[str | Path]:
    """The conversion of the hostile records, counted as the planted dataset is."""
    fields = ["--domain", "vqa", "--task", "vqa.hostile", "--licence", "CC0-1.0"]
    counted = ["--tokenizer", out / "planted" / "tokenizer.json", "--shards", "1", "--max-dead", "100%"]
    return [
        STEP3VL,
        "corpus",
        "convert",
        "hostile",
        "converted",
        "--from",
        "llava",
        "--images",
        "hostile",
        *fields,
        *counted,
    ]


def cost_lines(
    arguments: argparse.Namespace, read: int, costs: Mapping[str, float], peaks: Mapping[str, float]
) -> Iterator[str]:
    """What the commands used."""
    yield "\n| command | CPU s | samples/CPU-s | peak MB |\n|---|---:|---:|---:|"
    yield f"| the datasets are made | {costs['made']:.0f} | {arguments.samples / costs['made']:,.0f} | |"
    for name in peaks:
        yield f"| {name} | {costs[name]:.1f} | {read / costs[name]:,.0f} | {peaks[name]:.0f} |"


def kill_lines(moments: Sequence[str], *, compared: bool) -> Iterator[str]:
    """When the curation was killed, and whether that changed a byte."""
    if compared:
        yield "\nThe result is byte-identical to that of a run that nothing disturbed."
    if moments:
        counts = {moment: moments.count(moment) for moment in dict.fromkeys(moments)}
        listed = ", ".join(f"{moment} ({count})" for moment, count in counts.items())
        yield f"\nKilled {len(moments)} times, after it had last written: {listed}."


def ledger_lines(ledgers: Mapping[str, Run]) -> Iterator[str]:
    """Whether the counts reconcile."""
    for by, result in ledgers.items():
        last = result.output.strip().splitlines()[-1]
        yield f"\n`corpus ledger` by {by}: exit code {result.code}, {last.rpartition(': ')[2]}"


if __name__ == "__main__":
    main()
