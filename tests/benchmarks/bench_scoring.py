"""Scoring: letters in recorded responses, expressions beside math-verify, and what the harness adds to a run."""

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import fixtures
import psutil
from bench_engine import Contender
from measure import Row, race

from step3vl.data.sample import MathTruth
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.files import read_records
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.prompts import user_message
from step3vl.evaluation.registry import load_benchmark
from step3vl.evaluation.runner import EvalConfig, build_request, run_benchmark
from step3vl.grading import grade_answer
from step3vl.grading import math as math_grading
from step3vl.inference.client import Sampling, collect
from step3vl.inference.engine import EngineBackend

CHOICES = 2000
"""Responses of multiple choice, as long as GPT-4o's to MMMU-Pro with reasoning: 1,100 characters."""
SAMPLES = 8
QUESTIONS, NEW_TOKENS = 32, 64
_SENTENCE = "The first option would need both to be on the left, which the image does not show at all. "
_ENDINGS = (
    "Answer: {L}",
    r"\boxed{{{L}}}",
    "The answer is ({L}).",
    "So it is {L}, {T}.",
    "**{L}**",
    "None of it fits.",
)
_REASONING = "We add both sides, and divide by two. " * 30


def choice_responses() -> list[tuple[Item, str]]:
    rng = random.Random(0)
    options = ["a red car", "the man on the left", "two of them", "nothing"]
    item = Item("0", (), "B", fields={"options": options})
    responses = []
    for number in range(CHOICES):
        index = rng.randrange(4)
        ending = _ENDINGS[number % len(_ENDINGS)].format(L="ABCD"[index], T=options[index])
        responses.append((item, f"{_SENTENCE * rng.randint(0, 24)}\n{ending}"))
    return responses


def score_choices(responses: list[tuple[Item, str]], rule: Rule) -> int:
    benchmark = load_benchmark("mmstar")
    return len([benchmark.score(item, response, rule).verdict for item, response in responses])


def integer_problems() -> list[tuple[str, str]]:
    """Thirty problems with integers as answers, eight responses each: AIME's form."""
    rng = random.Random(0)
    return [
        (str(answer), f"{_REASONING}So we get $\\boxed{{{answer if rng.random() < 0.7 else rng.randrange(1000)}}}$.")
        for answer in rng.sample(range(1000), 30)
        for _ in range(SAMPLES)
    ]


def mixed_problems() -> list[tuple[str, str]]:
    """A hundred problems of MATH's form, eight responses each: integers, fractions, units, roots and formulas."""
    rng = random.Random(0)
    pairs = []
    for number in range(100):
        a, b = rng.randint(2, 40), rng.randint(2, 40)
        integer = (f"{a}", f"{a}.0", f"{b + 40}")
        answers = (
            *(6 * [integer]),
            (rf"\frac{{{a}}}{{{b}}}", f"{a}/{b}", rf"\frac{{{b}}}{{{a + 1}}}"),
            (f"{a}", rf"{a}\text{{ cm}}", f"{b + 40}"),
            (rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{b}}}\cdot {a}", rf"{a + 1}\sqrt{{{b}}}"),
            (f"x^2+{a}x-{b}", f"-{b}+{a}x+x^2", f"x^2-{a}x+{b}"),
        )
        chosen = rng.choices(answers[number % 10], (88, 3, 9), k=SAMPLES)
        pairs += [(answers[number % 10][0], f"{_REASONING}So we get $\\boxed{{{each}}}$.") for each in chosen]
    return pairs


def recorded_problems(records: Path) -> list[tuple[str, str]]:
    """A hundred problems of MATH with eight recorded responses each (Qwen2.5-Math's repository, MIT); none without."""
    path = records / "MATH-equality-Qwen2.5-Math" / "math_cot_100.jsonl.gz"
    rows = read_records(path) if path.is_file() else ()
    return [(str(row["gt"]), response) for row in rows for response in row["code"]]


def grade(pairs: list[tuple[str, str]]) -> list[bool]:
    math_grading._compare_in_worker.cache_clear()  # as if the responses were read for the first time
    return [grade_answer(MathTruth(expression=gold), text).verdict == "correct" for gold, text in pairs]


def verify_serially(pairs: list[tuple[str, str]]) -> list[bool]:
    from math_verify import parse, verify

    read = partial(parse, parsing_timeout=None)
    return [bool(verify(read(f"${gold}$"), read(text), timeout_seconds=None)) for gold, text in pairs]


def family_seconds() -> float:
    """The CPU seconds of this process and of those that it has started: the graders' workers."""
    children = psutil.Process().children(recursive=True)
    return time.process_time() + sum(sum(each.cpu_times()[:2]) for each in children)


def family_race(contenders: dict[str, Callable[[], list[bool]]], rounds: int) -> dict[str, float]:
    """As `race`, with the CPU seconds of worker processes."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        results = []
        for name in contenders if number % 2 else reversed(list(contenders)):
            start = family_seconds()
            results.append(contenders[name]())
            seconds[name].append(family_seconds() - start)
        assert results[0] == results[1], "the verdicts differ"
    return {name: median(times[1:]) for name, times in seconds.items()}


class Questions(Benchmark):
    """Questions on photographs for the engine with random weights."""

    about = About(
        "questions", "Questions", "made here", "CC0-1.0", QUESTIONS, 1, "bare", "accuracy",
        (DataFile("none", "made here", "0 B"),),
    )  # fmt: skip

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for number in range(QUESTIONS):
            photo = fixtures.jpeg(fixtures.photograph(96, 64, number)).data
            message = user_message(f"Question {number}: how many are there?", images=1)
            yield Item(str(number), (message,), "2", (photo,) if images else ())

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        return Score.of(response == item.answer, response)


def run_harness(contender: Contender) -> int:
    """A whole run: questions, answers on the disk, scores, results."""
    config = EvalConfig(sampling=Sampling(max_new_tokens=NEW_TOKENS), reasoning=False)
    with fixtures.folder(memory=False) as path:
        backend = EngineBackend(contender.engine())
        work = run_benchmark(Questions(), path, backend, path / "run", config, {"name": "random"})
        return int(asyncio.run(work).metrics["responses"])


def ask_engine(contender: Contender) -> int:
    """The same requests, and no more than that."""

    async def answers() -> int:
        backend = EngineBackend(contender.engine())
        sampling = Sampling(max_new_tokens=NEW_TOKENS, seed=0)
        requests = [build_request(item, list(item.images)) for item in Questions().items(Path())]
        limit = asyncio.Semaphore(EvalConfig().concurrency)

        async def answer(request: object) -> int:
            async with limit:
                return len((await collect(backend, request, sampling))[0])

        return sum(await asyncio.gather(*map(answer, requests)))

    return asyncio.run(answers())


def rows(rounds: int) -> list[Row]:
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    responses = choice_responses()
    rules: tuple[Rule, ...] = ("strict", "official")
    seconds = race({rule: partial(score_choices, responses, rule) for rule in rules}, rounds)
    table = [
        Row(f"multiple choice, {rule}", CHOICES / seconds[rule], None, "responses/s", "1,100 characters each")
        for rule in rules
    ]
    recorded = recorded_problems(Path(os.environ.get("STEP3VL_EVAL_RECORDS", "records")))
    sets = {"integers": integer_problems(), "MATH's forms": mixed_problems(), "recorded MATH": recorded}
    for name, pairs in ((name, pairs) for name, pairs in sets.items() if pairs):
        contenders = {"ours": partial(grade, pairs), "math-verify": partial(verify_serially, pairs)}
        seconds = family_race(contenders, rounds)
        note = f"math-verify one by one in this process; {SAMPLES} responses to each problem, workers counted"
        rates = [len(pairs) / seconds[contender] for contender in ("ours", "math-verify")]
        table.append(Row(f"maths, {name}", *rates, "responses/s", note))
    contender = Contender("small")
    seconds = race({"harness": partial(run_harness, contender), "engine": partial(ask_engine, contender)}, rounds)
    rates = [QUESTIONS / seconds[each] for each in ("harness", "engine")]
    added = 1000 * (seconds["harness"] - seconds["engine"]) / QUESTIONS
    note = f"{NEW_TOKENS} tokens, {contender.model.num_parameters():,} weights; {added:.2f} ms a response are added"
    table.append(Row("a run of a benchmark", *rates, "responses/s", note))
    return table
