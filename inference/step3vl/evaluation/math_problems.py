"""What the benchmarks of competition mathematics share: a problem, and an answer that is compared as an expression."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from step3vl.data.errors import UserError
from step3vl.data.sample import MathTruth
from step3vl.evaluation.benchmark import Benchmark, Rule
from step3vl.evaluation.extraction.latex import math_equal
from step3vl.evaluation.extraction.verified import score_by_truth
from step3vl.evaluation.files import find_all, read_records
from step3vl.evaluation.item import Item, Metrics, Score, Scored
from step3vl.evaluation.prompts import ask, user_message
from step3vl.grading import marked_answer


class MathProblems(Benchmark):
    """Problems in text whose answers are numbers or expressions.

    The strict rule is that of rewards, math-verify. None of these benchmarks has a scorer that all use; the official
    rule here is Qwen2.5-Math's, which most reports are made with: the boxed answer, compared by `math_equal`.
    """

    problem: ClassVar[tuple[str, ...]] = ("problem", "question", "Problem", "prompt")
    """Names of the field with the problem; copies of these benchmarks differ."""
    answer: ClassVar[tuple[str, ...]] = ("answer", "Answer", "expected_answer")
    """Names of the field with the answer."""
    category: ClassVar[str] = ""
    """The field that results are broken down by."""

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        number = 0
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                yield self.item(record, number, path)
                number += 1

    def item(self, record: Mapping[str, Any], number: int, path: Path) -> Item:
        """The item of a record, the `number`th from 0; its id is the record's or this number."""
        problem, answer = (str(_first(record, names, path)) for names in (self.problem, self.answer))
        id = next(
            (record[name] for name in ("unique_id", "id", "problem_idx", "Problem ID") if name in record), number
        )
        category = str(record.get(self.category, "")) if self.category else ""
        return Item(str(id), (user_message(ask("boxed", problem)),), answer.strip().strip("$"), category=category)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "strict":
            return score_by_truth(MathTruth(expression=item.answer), response)
        answer = item.fields.get("prediction", marked_answer(response))
        if answer is None:
            return Score.unparsable("no box")
        return Score.of(math_equal(answer, item.answer), answer, "boxed")

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The mean and, with several responses to a problem, the share of problems whose commonest answer is right."""
        metrics = super().summarise(scored)
        responses: dict[str, list[Score]] = defaultdict(list)
        for each in scored:
            responses[each.item.id].append(each.score)
        if len(responses) == len(scored):
            return metrics
        majority = [_commonest(scores) for scores in responses.values()]
        values = {**metrics.values, "majority": 100 * sum(majority) / len(majority)}
        counts = {**metrics.counts, "majority correct": sum(majority), "problems": len(majority)}
        return Metrics(metrics.headline, values, counts, metrics.categories)


def _commonest(scores: Sequence[Score]) -> bool:
    """Whether the commonest answer is right, of equally common ones the first."""
    answers = Counter(score.extracted.strip() for score in scores if score.extracted is not None)
    answer = answers.most_common(1)[0][0] if answers else None
    return any(
        score.extracted is not None and score.extracted.strip() == answer and score.value == 1 for score in scores
    )


def _first(record: Mapping[str, Any], names: Sequence[str], path: Path) -> Any:
    for name in names:
        if record.get(name) is not None:
            return record[name]
    raise UserError(f"{path}: a record has none of the fields {', '.join(names)}; is it the official file?")
