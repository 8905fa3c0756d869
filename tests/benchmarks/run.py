"""Time our parts beside their peers on this machine, in one run: a table here, the same numbers in runs/bench.json.

Nothing fails for being slow; a run fails when contenders do not do the same work. See README.md.
"""

import argparse
import gc
import importlib
import json
import logging
import os
import platform
import sys
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Threads that wait for each other on a shared machine would be counted as work. Read by torch when it is imported.
os.environ["OMP_NUM_THREADS"] = "1"

from measure import Row
from rich.console import Console
from rich.table import Table

GROUPS = (
    "shards", "packing", "plan", "loader", "processor", "encoder", "engine", "pacore", "server", "step", "corpus",
    "convert", "html", "pages", "curation", "scoring",
)  # fmt: skip
PACKAGES = ("step3vl", "torch", "transformers", "deepspeed", "webdataset", "numpy", "pillow", "pyarrow", "tokenizers")
WIDTH = 170  # of a table that goes to a file
RESULT = Path(__file__).parents[2] / "runs" / "bench.json"


def machine() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "machine": names[0] if names else platform.processor() or platform.machine(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def table(results: dict[str, list[Row]]) -> Table:
    grid = Table(title="CPU time, one thread; a ratio above 1 means that ours does more")
    for name in ("what", "ours", "peer", "ratio", "unit", "note"):
        grid.add_column(name, justify="right" if name in ("ours", "peer", "ratio") else "left", overflow="fold")
    for group, rows in results.items():
        grid.add_section()
        for row in rows:
            peer, ratio = ("-", "-") if row.ratio is None else (number(row.peer or 0), f"{row.ratio:.2f}")
            grid.add_row(f"{group}: {row.what}", number(row.ours), peer, ratio, row.unit, row.note)
    return grid


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=GROUPS, help="this group alone")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each contender (5)")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    described, start = machine(), time.perf_counter()
    results: dict[str, list[Row]] = {}
    for group in (arguments.only,) if arguments.only else GROUPS:
        with console.status(f"{group} …"):
            module = importlib.import_module(f"bench_{group}")
            # Else whoever allocates most pays for the collector's walks over all that is imported.
            gc.collect()
            gc.freeze()
            results[group] = module.rows(arguments.rounds)
    console.print(table(results))
    measured = [
        {"group": group, **row._asdict(), "ratio": row.ratio} for group, rows in results.items() for row in rows
    ]
    seconds = round(time.perf_counter() - start, 1)
    RESULT.parent.mkdir(exist_ok=True)
    content = {**described, "rounds": arguments.rounds, "seconds": seconds, "rows": measured}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    console.print(f"{seconds:.0f} s on {described['machine']}, {described['cores']} cores; written to {RESULT}")


if __name__ == "__main__":
    main()
