"""How each benchmark's scorer is compared with another: `python tests/peers/crosschecks/coverage.py` lists all.

A benchmark is compared by cases of its own, by a reader that it shares with others (`SHARED`), by outputs that its
authors recorded with their scores (`RECORDS` of its module), or by nothing, for a reason (`ALONE`).
"""

import sys
from collections import defaultdict
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from crosschecks.cases import CASES, BenchmarkVerdict, JudgedVerdict
from step3vl.evaluation.registry import benchmark_names, load_module

_OPTIONS = ("VLMEvalKit: can_infer",)
_POINTS = ("lmms-eval: screenspot_v2", "lmms-eval: screenspot_pro", "lmms-eval: osworld_g", "VLMEvalKit: ScreenSpot")
_EXPRESSIONS = ("math-verify: verify",)
_NUMBERS = (*_EXPRESSIONS, "lm-eval: aime")

SHARED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "ai2d", "all-angles-bench", "blink", "cv-bench", "erqa", "m3gia", "mindcube-tiny", "mmbench-cn",
            "mmbench-en", "mmsi-bench", "mmstar", "omnispatial", "realworldqa", "stare", "viewspatial", "vstar",
        ),
        _OPTIONS,
    ),
    **dict.fromkeys(("mmbench-gui-l2", "osworld-g", "screenspot", "screenspot-pro", "screenspot-v2"), _POINTS),
    **dict.fromkeys(("aime-2024", "beyond-aime", "cnmo-2024", "hmmt-2025"), _NUMBERS),
    "math-500": _EXPRESSIONS,
    "hallusionbench": ("VLMEvalKit: YOrN_Extraction", "VLMEvalKit: Hallusion_rating"),
    "ifeval": ("lm-eval: ifeval",),
    "mmmu-vlmevalkit": _OPTIONS,
    "mmvp": (*_OPTIONS, "lmms-eval: mmvp_aggregate_pair_results"),
    "we-math": ("VLMEvalKit: We-Math",),
    "countqa": ("lmms-eval: countbenchqa", "lmms-eval: pixmo_count"),
    "zerobench-sub": ("lmms-eval: zerobench",),
}  # fmt: skip
"""Cases and aggregates of readers, graders and summaries that a benchmark shares with others."""

_OWN_PROMPT = "a model grades; our judge is asked in words of our own, and nobody else reads its reply"
_NO_TASK = "no task in VLMEvalKit, lmms-eval or lm-eval"
_DESIGN = "VLMEvalKit finds the blocks in coloured screenshots, ours asks the browser: they differ before any score"

ALONE: dict[str, str] = {
    "arena-hard-v2": _OWN_PROMPT,
    "csvqa": _NO_TASK,
    "design2code": _DESIGN,
    "design2code-hard": _DESIGN,
    "do-you-see-me": _NO_TASK,
    "healthbench": _OWN_PROMPT,
    "hle": _OWN_PROMPT,
    "humaneval-v": _NO_TASK,
    "imo-answerbench": _OWN_PROMPT,
    "mia-bench": _OWN_PROMPT,
    "miniwob": "episodes in web apps, which no harness of these runs",
    "mm-ifeval": _OWN_PROMPT,
    "mm-mt-bench": _NO_TASK,
    "multichallenge": _OWN_PROMPT,
    "omni-ocr": _NO_TASK,
    "remi": _NO_TASK,
    "simplevqa": _OWN_PROMPT,
    "wildbench": _OWN_PROMPT,
}
"""Benchmarks that nothing is compared of, and why."""


def comparisons(name: str) -> list[str]:
    """What the scorer of a benchmark is compared with."""
    verdicts = (BenchmarkVerdict, JudgedVerdict)
    cases = [case.name for case in CASES if isinstance(case.ours, verdicts) and case.ours.name == name]
    runs = len(getattr(load_module(name), "RECORDS", ()))
    recorded = [f"{runs} recorded run{'s' * (runs > 1)}"] if runs else []
    return [*dict.fromkeys([*cases, *SHARED.get(name, ())]), *recorded]


if __name__ == "__main__":
    by_way: dict[str, int] = defaultdict(int)
    for name in benchmark_names():
        compared = comparisons(name)
        by_way["compared" if compared else "alone"] += 1
        print(f"{name:<18} {'; '.join(compared) or f'none: {ALONE[name]}'}")
    print(", ".join(f"{count} {way}" for way, count in sorted(by_way.items(), reverse=True)))
