"""The benchmarks by name. Every module in `step3vl.evaluation.benchmarks` is one; they are imported when used.

`corpus:PATH` names the held-out split of a dataset, see `step3vl.evaluation.heldout`, and `apps:FOLDER` the tasks of
web apps, see `step3vl.evaluation.episodes`.
"""

import importlib
import pkgutil
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from step3vl.data.errors import UserError
from step3vl.evaluation import benchmarks
from step3vl.evaluation.benchmark import Benchmark
from step3vl.evaluation.episodes import APPS, AppBenchmark
from step3vl.evaluation.heldout import SCHEME, HeldOut


def benchmark_names() -> list[str]:
    """The names of all benchmarks, sorted. Imports none of them."""
    modules = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(module.replace("_", "-") for module in modules)


def data_folder(data: Path, benchmark: str) -> Path:
    """Where a benchmark's files lie, or belong: the folder of its name below `data`.

    It is `data` itself where that has files, but no folder of any benchmark: a pattern such as `**/*.parquet` would
    find the files of another one.
    """
    names = {path.name for path in data.iterdir()} if data.is_dir() else set()
    return data if names and not names & {benchmark, *benchmark_names()} else data / benchmark


def load_module(name: str) -> ModuleType:
    """Import the module of a benchmark.

    Raises:
        UserError: there is no benchmark of this name.
    """
    names = benchmark_names()
    if name not in names:
        close = get_close_matches(name, names, n=3) or ["`step3vl eval list` shows all"]
        hint = f"; for the held-out split of a dataset, {SCHEME}{name}" if "/" in name else ""
        raise UserError(f"no benchmark '{name}'; did you mean: {', '.join(close)}{hint}")
    return importlib.import_module(f"{benchmarks.__name__}.{name.replace('-', '_')}")


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of this name. Raises UserError where there is none."""
    if name.startswith(SCHEME):
        return HeldOut(name)
    if name.startswith(APPS):
        return AppBenchmark(name)
    return load_module(name).BENCHMARK
