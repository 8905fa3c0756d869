"""ZeroBench's subquestions: 334 steps of its 100 questions."""

from dataclasses import replace

from step3vl.evaluation.benchmark import DataFile
from step3vl.evaluation.benchmarks.zerobench_main import SOURCE, ZeroBench


class ZeroBenchSub(ZeroBench):
    """The same rule; the subquestions of a question are one group."""

    split = "zerobench_subquestions"

    about = replace(
        ZeroBench.about,
        name="zerobench-sub",
        title="ZeroBench (sub)",
        items=334,
        files=(DataFile("zerobench_subquestions-*.parquet", f"{SOURCE}, data", "0.3 GB"),),
    )


BENCHMARK = ZeroBenchSub()
