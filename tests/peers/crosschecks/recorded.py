"""Peers beside ours on outputs that benchmarks' authors recorded: `make eval-peers RECORDS=DIR`.

Compared are functions that our official rule, or our grader, reproduces: there may be no difference at all. The
outputs are read from a folder and are no part of the repository.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from crosschecks import lm_eval_peer, vlmevalkit_peer
from crosschecks.cases import agrees, expression, instruction, option_matcher, yes_no
from crosschecks.replies import Reply
from step3vl.evaluation.benchmark import Rule
from step3vl.evaluation.files import read_records
from step3vl.evaluation.item import Item
from step3vl.evaluation.registry import load_benchmark

_CHOICE = (
    ("cv-bench", "CV-Bench/CV-Bench-2D_gpt-4.1.json.gz"),
    ("mmmu-pro", "MMMU-Pro/gpt-4o_standard10_cot.jsonl.gz"),
    ("mmmu-pro", "MMMU-Pro/gpt-4o_vision_cot.jsonl.gz"),
    ("vstar", "VStar/deepeyes_3runs.json.gz#merge_ds1_step48_ds4_step40"),
    ("blink", "BLINK/GPT4o.val_outputs.json.gz"),
    ("realworldqa", "RealWorldQA/mPLUG-Owl3.json.gz"),
)

_NEED_DATA = ("length_constraints:number_sentences", "change_case:capital_word_frequency")


def choices(records: Path) -> Iterator[tuple[str, Reply]]:
    for name, file in _CHOICE:
        for item, recorded in load_benchmark(name).recorded(records / file):
            if item is not None and item.fields.get("options"):
                yield file, Reply(file, item, recorded.response)


def yes_or_no(records: Path) -> Iterator[tuple[str, Reply]]:
    file = "HallusionBench/HallusionBench_gpt4v_1125_raw.json.gz"
    for item, recorded in load_benchmark("hallusionbench").recorded(records / file):
        assert item is not None
        yield file, Reply(file, item, recorded.response)


def expressions(records: Path) -> Iterator[tuple[str, Reply]]:
    file = "MATH-equality-Qwen2.5-Math/math_cot_100.jsonl.gz"
    for row in read_records(records / file):
        for response in row["code"]:
            yield file, Reply(file, Item(str(row["idx"]), (), str(row["gt"])), response)


def instructions(records: Path) -> Iterator[tuple[str, Reply]]:
    """One instruction at a time.

    Two kinds need nltk's data, which is not there everywhere. And in place of a sign that is no letter and should be
    repeated, such as "#", lm-eval asks for a random letter, so that its verdicts are not the same twice.
    """
    benchmark = load_benchmark("ifeval")
    paths = sorted((records / "IFEval").glob("*response*"))
    items = {item.id: item for item in benchmark.items(records / "IFEval", images=False)} if paths else {}
    for path in paths:
        for item, recorded in benchmark.recorded(path):
            item = item or items[recorded.item]
            for name, arguments in zip(item.fields["instructions"], item.fields["arguments"], strict=True):
                sign = not str(arguments.get("letter") or "a").isalpha()
                if name not in _NEED_DATA and not sign:
                    values = {key: value for key, value in arguments.items() if value is not None}
                    single = Item(item.id, (), None, fields={"instruction_id_list": [name], "kwargs": [values]})
                    yield path.name, Reply(path.name, single, recorded.response)


CHECKS = (
    ("VLMEvalKit: can_infer", choices, vlmevalkit_peer.FUNCTIONS["can_infer"], option_matcher),
    ("VLMEvalKit: YOrN_Extraction", yes_or_no, vlmevalkit_peer.FUNCTIONS["YOrN_Extraction"], yes_no),
    ("math-verify: verify", expressions, lm_eval_peer.MATH_VERIFY["verify"], expression),
    ("lm-eval: ifeval", instructions, lm_eval_peer.FUNCTIONS["ifeval"], instruction),
)


def compare(records: Path) -> int:
    """Print how many outputs each function was asked about, and the differences. Returns their number."""
    rule: Rule = "official"
    total = 0
    for name, read, peer, ours in CHECKS:
        asked = differing = 0
        for file, reply in read(records):
            if "judgement" in reply.item.fields:  # what a judge said is not what a function reads
                fields = {key: value for key, value in reply.item.fields.items() if key != "judgement"}
                reply = reply._replace(item=Item(reply.item.id, (), reply.item.answer, fields=fields))
            asked += 1
            mine, theirs = ours(reply, rule), peer(reply)
            same = mine == theirs if name.endswith("ifeval") else agrees(mine, theirs, rule)
            if not same:
                differing += 1
                print(f"{file}, item {reply.item.id}: ours {mine}, theirs {theirs}", file=sys.stderr)
        print(f"{name}: {asked:,} recorded outputs, {differing} differences")
        total += differing
    return total
