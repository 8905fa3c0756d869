"""WildBench v2: 1,024 tasks of users, each response rated from 1 to 10 along a checklist."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.data.sample import text as text_part
from step3vl.data.sample.answers import last_object
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.files import find_all, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored, by_category
from step3vl.evaluation.judgements import rated, transcript
from step3vl.evaluation.prompts import user_message

_SOURCE = "https://huggingface.co/datasets/allenai/WildBench"


class WildBench(JudgedBenchmark):
    """A mean rating of 5 is 0, one of 10 is 100."""

    about = About(
        name="wildbench",
        title="WildBench",
        paper="https://arxiv.org/abs/2406.04770",
        licence="ImpACT low risk (AI2)",
        items=1024,
        repeats=1,
        family="official",
        metric="(mean rating - 5) x 20",
        files=(DataFile("v2/test-*.parquet", _SOURCE, "8 MB"),),
        modality="text",
        judge="gpt-4o-2024-05-13",
        notes=(
            "The judge's prompt is a paraphrase of the authors'.",
            "A response that the judge gave no rating to is left out of the mean, as in the official code, and "
            "counted as unparsable.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                require_fields(record, ("id", "conversation_input", "checklist", "primary_tag"), path)
                messages = tuple(
                    Message(role=turn["role"], content=(text_part(turn["content"]),))
                    for turn in record["conversation_input"]
                )
                fields = {"checklist": list(record["checklist"])}
                yield Item(str(record["id"]), messages, None, category=record["primary_tag"], fields=fields)

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        checklist = "\n".join(f"- {question}" for question in item.fields["checklist"])
        text = (
            "Rate the response of a model to the last message of a conversation with a user.\n\n"
            f"# Conversation\n{transcript(item.messages)}\n\n# Response\n{response}\n\n# Checklist\n{checklist}\n\n"
            "Go through the checklist, and name strengths and weaknesses. The scale: 1-2, very poor, makes no sense; "
            "3-4, poor, does not help the user; 5-6, fair, but with important faults or gaps; 7-8, good, could be "
            "better in places; 9-10, perfect, solves the task.\n"
            'End with a JSON object {"strengths": "...", "weaknesses": "...", "score": n}.'
        )
        return (user_message(text),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        try:
            rating = float(last_object(judgement, "score")["score"])
        except (TypeError, KeyError, ValueError, OverflowError):
            return Score.unparsable("the judge gave no score")
        return rated(rating if 1 <= rating <= 10 else None)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        return Metrics("score", {"score": _score(scored)}, metrics.counts, by_category(scored, _score))


def _score(scored: Sequence[Scored]) -> float:
    ratings = [each.score.details["rating"] for each in scored if "rating" in each.score.details]
    return 20 * (sum(ratings) / len(ratings) - 5) if ratings else 0.0


BENCHMARK = WildBench()
