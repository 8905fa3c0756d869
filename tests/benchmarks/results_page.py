"""How long the page of `step3vl eval compare` takes to make and to open with sixty benchmarks; no race.

    .venv/bin/python tests/benchmarks/results_page.py --items 300

The results are made up: two runs of sixty benchmarks, with responses of 600 characters. Of Chromium it prints how long
its main thread was busy until the page had loaded, which other work on the machine changes little, and the wall time.
"""

import argparse
import json
import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path

import fixtures

from step3vl.evaluation.benchmark import Benchmark
from step3vl.evaluation.comparison import compare
from step3vl.evaluation.item import Item, Score, Scored
from step3vl.evaluation.page import render_comparison
from step3vl.evaluation.registry import benchmark_names, load_benchmark
from step3vl.evaluation.results import Result, read_results, summarise_responses, write_results
from step3vl.evaluation.scoring import Response, ScoredResponse
from step3vl.pipelines.render.web.browser import find_chromium

BENCHMARKS = 60
_SENTENCE = "Both are on the left of the line, which is why the second option cannot be meant. "


def write_run(folder: Path, run: str, benchmark: Benchmark, items: int) -> None:
    """A folder of made-up results."""
    rng = random.Random(f"{run} {benchmark.about.name}")
    responses = []
    for number in range(items):
        correct = rng.random() < 0.6
        fields = {"options": ["a", "b"], "source": "COCO", "yes_no": False}
        item = Item(str(number), (), "A", (), f"g{number // 2}", f"category {number % 6}", fields)
        score = Score.of(correct, "A" if correct else "B", "marked as final")
        text = f"{_SENTENCE * 8}\\boxed{{{score.extracted}}}"
        responses.append(ScoredResponse(Response(item.id, text, tokens=200, seconds=1.0), Scored(item, score)))
    result = summarise_responses(
        benchmark, {"name": run, "rule": "strict", "settings": {}, "repeats": 1}, responses, items, items
    )
    write_results(folder / run / benchmark.about.name, result, responses)


def written_runs(folder: Path, run: str, items: int) -> Iterator[str]:
    """Write a run of sixty benchmarks: of those that make-believe items do, whose fields not all of them know."""
    names = iter(benchmark_names())
    for _ in range(BENCHMARKS):
        for name in names:
            try:
                write_run(folder, run, load_benchmark(name), items)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
            yield name
            break


def open_page(path: Path) -> tuple[float, float]:
    """Seconds in which Chromium's main thread was busy until the page had loaded, and wall seconds."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto("about:blank")
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until="load")
        wall = time.perf_counter() - start
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        browser.close()
    return metrics["TaskDuration"], wall


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=300, help="of each benchmark (300)")
    parser.add_argument("--keep", type=Path, help="where to write the page, to look at it")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # of what some benchmarks find in make-believe items
    with fixtures.folder(memory=False) as folder:
        for run in ("first", "second"):
            names = list(written_runs(folder, run, arguments.items))
        results: list[Result] = [result for run in ("first", "second") for result in read_results(folder / run)]
        start = time.process_time()
        html = render_comparison(compare(results)).encode()
        made = time.process_time() - start
        page = arguments.keep or folder / "comparison.html"
        page.write_bytes(html)
        busy, wall = open_page(page)
    figures = {
        "benchmarks": len(names), "runs": 2, "items": arguments.items, "page_kb": len(html) // 1024,
        "make_cpu_s": round(made, 2), "open_cpu_s": round(busy, 3), "open_wall_s": round(wall, 3),
    }  # fmt: skip
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
