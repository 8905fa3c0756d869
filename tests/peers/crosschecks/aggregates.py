"""From verdicts to a benchmark's numbers: our summaries, and those of the peers on the same made-up verdicts."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from crosschecks import vlmevalkit_peer
from step3vl.evaluation.item import Item, Score, Scored
from step3vl.evaluation.registry import load_benchmark

Numbers = Mapping[str, float]


class Aggregate(NamedTuple):
    """A summary of ours beside that of a peer.

    Args:
        ours: Our numbers, by name.
        peer: The peer's numbers of the same names.
    """

    ours: Callable[[], Numbers]
    peer: Callable[[], Numbers]


def _verdicts(seed: int) -> Iterator[bool]:
    rng = random.Random(seed)
    while True:
        yield rng.random() < 0.6


def we_math_rows() -> list[dict[str, Any]]:
    """The 525 problems of We-Math: the questions of two or three steps, and the problem itself."""
    correct = _verdicts(0)
    return [
        {"ID": f"{steps}-{number}", "key": f"{steps}steps_{part}", "hit": int(next(correct))}
        for steps, count in ((2, 360), (3, 165))
        for number in range(count)
        for part in (*range(1, steps + 1), "multi")
    ]


def _we_math() -> Numbers:
    scored = []
    for number, row in enumerate(we_math_rows()):
        fields = {"step": row["key"].rpartition("_")[2]}
        item = Item(str(number), (), "A", (), row["ID"], row["key"], fields)
        scored.append(Scored(item, Score.of(bool(row["hit"]), "A")))
    metrics = load_benchmark("we-math").summarise(scored)
    names = ("score (strict)", "score (loose)", "insufficient knowledge", "inadequate generalization")
    return {name: round(metrics.values[name], 6) for name in names}


def _we_math_peer() -> Numbers:
    import pandas

    code = vlmevalkit_peer.module("dataset.utils.wemath")
    frame = pandas.DataFrame(we_math_rows())
    frame["joker"] = frame["hit"].astype(bool)
    merged = [
        code.evaluate_process_steps_data(frame[frame["key"].str.contains(f"{steps}steps")], steps) for steps in (2, 3)
    ]
    counts, _ = code.evaluate_compute_final_scores(code.evaluate_calculate_metrics(*merged), 525)
    generalization, knowledge = counts["InadequateGeneralization"], counts["InsufficientKnowledge"]
    return {
        **{
            f"score ({name})": round(
                100 * (525 - 0.5 * generalization - counts[f"RoteMemorization_{name}"] - knowledge) / 525, 6
            )
            for name in ("strict", "loose")
        },
        "insufficient knowledge": round(100 * knowledge / 525, 6),
        "inadequate generalization": round(100 * generalization / 525, 6),
    }


def hallusionbench_rows() -> list[dict[str, Any]]:
    """Questions of HallusionBench: sets of figures, with the same questions on each figure."""
    correct = _verdicts(1)
    return [
        {"category": category, "subcategory": subcategory, "set": set_, "figure": figure, "question": question,
         "score": int(next(correct))}
        for category, subcategory in (("VD", "illusion"), ("VD", "ocr"), ("VS", "chart"), ("VS", "map"))
        for set_ in range(12)
        for figure in range(1, 4)
        for question in range(1 + set_ % 3)
    ]  # fmt: skip


def _hallusionbench() -> Numbers:
    scored = []
    for number, row in enumerate(hallusionbench_rows()):
        fields = {"set_id": str(row["set"]), "figure_id": str(row["figure"]), "question_id": str(row["question"])}
        fields |= {"category": row["category"], "subcategory": row["subcategory"], "visual_input": "1"}
        scored.append(Scored(Item(str(number), (), "Y", fields=fields), Score.of(bool(row["score"]), "Y")))
    values = load_benchmark("hallusionbench").summarise(scored).values
    return {name: round(values[name], 6) for name in ("aAcc", "fAcc", "qAcc", "score")}


def _hallusionbench_peer() -> Numbers:
    import pandas

    code = vlmevalkit_peer.module("dataset.utils.yorn")
    rows = [
        {
            "index": f"{row['category']}_{row['subcategory']}_1_{row['set']}_{row['figure']}_{row['question']}",
            "l2-category": row["subcategory"],
            "score": row["score"],
        }
        for row in hallusionbench_rows()
    ]
    code.load = lambda path: pandas.DataFrame(rows)
    overall = code.Hallusion_rating("").iloc[0]
    values = {name: float(overall[name]) for name in ("aAcc", "fAcc", "qAcc")}
    return {name: round(value, 6) for name, value in {**values, "score": sum(values.values()) / 3}.items()}


def mmvp_rows() -> list[bool]:
    """The 300 questions of MMVP, of which neighbours are pairs."""
    correct = _verdicts(2)
    return [next(correct) for _ in range(300)]


def _mmvp() -> Numbers:
    scored = [
        Scored(Item(str(number), (), "A", group=str(number // 2)), Score.of(correct, "A"))
        for number, correct in enumerate(mmvp_rows())
    ]
    return {"accuracy": round(load_benchmark("mmvp").summarise(scored).values["accuracy"], 6)}


def _mmvp_peer() -> Numbers:
    from crosschecks.lmms_eval_peer import task

    rows = [{"pair_index": number // 2, "is_correct": correct} for number, correct in enumerate(mmvp_rows())]
    return {"accuracy": round(100 * task("mmvp.utils").mmvp_aggregate_pair_results(rows), 6)}


AGGREGATES = {
    "VLMEvalKit: We-Math": Aggregate(_we_math, _we_math_peer),
    "VLMEvalKit: Hallusion_rating": Aggregate(_hallusionbench, _hallusionbench_peer),
    "lmms-eval: mmvp_aggregate_pair_results": Aggregate(_mmvp, _mmvp_peer),
}
