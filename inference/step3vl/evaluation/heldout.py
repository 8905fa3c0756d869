"""The held-out split of a dataset as a benchmark: every conversation whose answer can be verified.

It is named `corpus:PATH`, or `corpus:PATH#TASKS` with patterns of tasks, such as
`corpus:runs/tiny/corpus#counting.icons,grounding.*`; the path may be any URL that datasets have. Responses are graded
by the samples' truths, as rewards in training are.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from pathlib import Path

from pydantic import TypeAdapter

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.sample import Sample, Truth
from step3vl.evaluation.benchmark import About, Benchmark, Rule
from step3vl.evaluation.item import Item, Metrics, Score, Scored, Verdict, mean_percent
from step3vl.grading import Constant, best_constant, grade_answer, marked_answer
from step3vl.inference.client import Request

SCHEME = "corpus:"
CENTRAL_ANSWERS = (
    '{"point_2d": [500, 500]}',
    '{"bbox_2d": [250, 250, 750, 750]}',
    '{"bbox_2d": [0, 0, 1000, 1000]}',
)
"""Constant answers to questions about positions, beside the most frequent answers of the training split."""
FREQUENT_ANSWERS = 20
"""How many of the most frequent training answers are tried as a constant."""
_TRUTH: TypeAdapter[Truth] = TypeAdapter(Truth)
_SHOWN = 200  # characters of an answer in a trace


class HeldOut(Benchmark):
    """The verifiable conversations of a dataset's held-out split, or of some of its tasks.

    Args:
        name: `corpus:PATH` or `corpus:PATH#TASKS`, with patterns of tasks between commas.

    Raises:
        UserError: the name has no path.
    """

    def __init__(self, name: str) -> None:
        self.url, _, tasks = name.removeprefix(SCHEME).partition("#")
        if not self.url:
            raise UserError(f"'{name}' names no dataset; give {SCHEME}PATH")
        self.patterns = tuple(tasks.split(",")) if tasks else ("*",)
        self.about = About(
            name=name,
            title=name,
            paper="a dataset of one's own",
            licence="that of its sources",
            items=None,
            repeats=1,
            family="the dataset's own",
            metric="mean grade of the answers by the truths of the samples",
            files=(),
        )

    @property
    def folder(self) -> str:
        """The name of the dataset, and of its tasks where they are not all."""
        tasks = "" if self.patterns == ("*",) else "-" + "-".join(self.patterns)
        return re.sub(r"[^A-Za-z0-9._-]+", "_", f"corpus-{self.dataset.manifest.name}{tasks}")

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset. Raises UserError where there is none."""
        return Dataset.open(self.url)

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        """Read the held-out samples in the order of the shards; the folder of official files is not used.

        Those that have no truth are left out, unless their task is named.
        """
        groups: dict[str, str] = {}
        for sample in self._samples():
            if sample.truth is None:
                if sample.task in self.patterns:
                    raise UserError(
                        f"{self.url}: sample {sample.id} of task '{sample.task}' has no truth; only answers that can "
                        "be verified are scored"
                    )
                continue
            request = Request.from_sample(sample)
            prompt_images = sample.images[: len(request.images)]
            yield Item(
                id=sample.id,
                messages=tuple(request.messages),
                answer=sample.answer(),
                images=tuple(image.read() for image in prompt_images) if images else (),
                group=_group([image.sha256 for image in prompt_images], groups),
                category=sample.task,
                fields={"domain": sample.domain, "truth": sample.truth.model_dump(mode="json")},
                tools=sample.tools,
            )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        """Grade by the truth; both rules are the same."""
        truth = _TRUTH.validate_python(item.fields["truth"])
        grade = grade_answer(truth, response)
        if grade.verdict not in ("correct", "wrong"):
            return Score.unparsable(f"{truth.kind}: {grade.verdict}")
        answer = marked_answer(response) or response.strip()
        verdict: Verdict = "correct" if grade.verdict == "correct" else "partial" if grade.value > 0 else "wrong"
        return Score(grade.value, verdict, answer[:_SHOWN], (f"graded as {truth.kind}",))

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The mean grade in percent, by domain and by task, and the share of answers that are correct."""
        by_category: dict[str, list[Scored]] = defaultdict(list)
        for each in scored:
            domain = each.item.fields["domain"]
            by_category[domain].append(each)
            by_category[f"{domain}: {each.item.category}"].append(each)
        correct = sum(each.score.verdict == "correct" for each in scored)
        return Metrics(
            "score",
            {"score": mean_percent(scored), "correct": 100 * correct / len(scored) if scored else 0.0},
            {"correct": correct, "items": len(scored)},
            {name: mean_percent(group) for name, group in sorted(by_category.items())},
        )

    def _samples(self) -> Iterator[Sample]:
        """The held-out conversations of the tasks. Raises UserError where there are none."""
        matched = False
        columns = ["task", "offset", "size"]
        for batch in self.dataset.index_batches(columns, split="heldout", kind="conversation"):
            for row in batch.to_pylist():
                if any(fnmatchcase(row["task"], pattern) for pattern in self.patterns):
                    matched = True
                    yield self.dataset.read(row["shard"], row["offset"], row["size"])
        if not matched:
            tasks = sorted({total.task for total in self.dataset.manifest.tasks if total.split == "heldout"})
            close = get_close_matches(self.patterns[0], tasks, 1)
            hint = f"; did you mean '{close[0]}'" if close else f"; there are {', '.join(tasks) or 'none at all'}"
            raise UserError(f"{self.url}: no held-out conversations of task '{','.join(self.patterns)}'{hint}")

    def chance(self, items: Iterable[Item], training_answers: int) -> Mapping[str, Constant]:
        """By task, the constant answer that scores best: one of the most frequent of the training split, or a center.

        Args:
            items: What the answer is given to.
            training_answers: How many answers of each task's training split are counted.
        """
        by_task: dict[str, list[Item]] = defaultdict(list)
        for item in items:
            by_task[item.category].append(item)
        return {task: self._best_constant(task, group, training_answers) for task, group in by_task.items()}

    def _best_constant(self, task: str, items: Sequence[Item], count: int) -> Constant:
        samples = islice(self.dataset.samples(split="train", kind="conversation", task=task), count)
        frequent = Counter(sample.answer() for sample in samples).most_common(FREQUENT_ANSWERS)
        graders = [lambda answer, item=item: self.score(item, answer).value for item in items]
        return best_constant([*(answer for answer, _ in frequent), *CENTRAL_ANSWERS], graders)


def _group(images: Sequence[str], groups: dict[str, str]) -> str:
    """The cluster of a sample: that of an earlier one that shares an image with it, else its first image."""
    name = next((groups[image] for image in images if image in groups), images[0] if images else "")
    groups.update((image, groups.get(image, name)) for image in images)
    return name
