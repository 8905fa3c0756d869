"""HealthBench: 5,000 conversations on health, graded by the rubrics of physicians."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.data.sample import text as text_part
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.files import find_all, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored, by_category
from step3vl.evaluation.judgements import criteria_message, read_criteria, transcript

_SOURCE = "https://github.com/openai/simple-evals (healthbench_eval.py names the address)"


class HealthBench(JudgedBenchmark):
    """A response scores the points of the criteria that it meets over all points that could be gained."""

    about = About(
        name="healthbench",
        title="HealthBench",
        paper="https://arxiv.org/abs/2505.08775",
        licence="MIT",
        items=5000,
        repeats=1,
        family="official",
        metric="mean over conversations of points met over possible points, clipped to 0..1",
        files=(DataFile("*oss_eval.jsonl", _SOURCE, "50 MB"),),
        modality="text",
        judge="gpt-4.1-2025-04-14",
        notes=(
            "The authors ask the judge about each criterion alone; here it decides on all criteria of a response in "
            "one reply, with a prompt of our own.",
            "Only the mean is clipped, not the score of a response, which may be negative.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                require_fields(record, ("prompt_id", "prompt", "rubrics"), path)
                messages = tuple(
                    Message(role=turn["role"], content=(text_part(turn["content"]),)) for turn in record["prompt"]
                )
                rubrics = [{"criterion": each["criterion"], "points": each["points"]} for each in record["rubrics"]]
                themes = [tag for tag in record.get("example_tags") or [] if tag.startswith("theme:")]
                yield Item(
                    record["prompt_id"],
                    messages,
                    None,
                    category=themes[0] if themes else "",
                    fields={"rubrics": rubrics},
                )

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        criteria = [rubric["criterion"] for rubric in item.fields["rubrics"]]
        return (criteria_message(transcript(item.messages), response, criteria),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        rubrics = item.fields["rubrics"]
        met = read_criteria(judgement, len(rubrics))
        if met is None:
            return Score.unparsable("the judge did not decide on each criterion")
        possible = sum(rubric["points"] for rubric in rubrics if rubric["points"] > 0)
        points = sum(rubric["points"] for rubric, is_met in zip(rubrics, met, strict=True) if is_met)
        score = points / possible if possible else 0.0
        return Score.graded(min(max(score, 0.0), 1.0), None, f"{points} of {possible} points", score=score)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        return Metrics("score", {"score": _mean(scored)}, metrics.counts, by_category(scored, _mean))


def _mean(scored: Sequence[Scored]) -> float:
    scores = [each.score.details.get("score", 0.0) for each in scored]
    return 100 * min(max(sum(scores) / len(scores), 0.0), 1.0) if scores else 0.0


BENCHMARK = HealthBench()
