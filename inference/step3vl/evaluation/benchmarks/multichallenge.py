"""MultiChallenge: conversations of several turns that end where models forget what was agreed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.data.sample import text as text_part
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.files import find, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored
from step3vl.evaluation.judgements import read_yes_no
from step3vl.evaluation.prompts import user_message


class MultiChallenge(JudgedBenchmark):
    """A judge answers a question about the last reply with YES or NO."""

    about = About(
        name="multichallenge",
        title="MultiChallenge",
        paper="https://arxiv.org/abs/2501.17399",
        licence="none stated",
        items=273,
        repeats=1,
        family="official",
        metric="share of replies whose target question is answered as required",
        files=(DataFile("benchmark_questions.jsonl", "https://github.com/ekwinox117/multi-challenge", "2.2 MB"),),
        modality="text",
        judge="gpt-4o-2024-08-06",
        notes=(
            "The report's numbers are shares of the 273 conversations; the authors print the mean over the four axes, "
            "given as 'axes'.",
            "The judge's prompt is a paraphrase of the authors'.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, self.about.files[0].name, self.about)
        for record in read_records(path):
            names = ("QUESTION_ID", "AXIS", "CONVERSATION", "TARGET_QUESTION", "PASS_CRITERIA")
            require_fields(record, names, path)
            messages = tuple(
                Message(role=turn["role"], content=(text_part(turn["content"]),)) for turn in record["CONVERSATION"]
            )
            fields = {"question": record["TARGET_QUESTION"]}
            id, answer, axis = record["QUESTION_ID"], record["PASS_CRITERIA"], record["AXIS"]
            yield Item(id, messages, answer, category=axis, fields=fields)

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        text = (
            "Answer a question about a response of a model with YES or NO. Use nothing but the response.\n\n"
            f"<response>\n{response}\n</response>\n\n<question>\n{item.fields['question']}\n</question>\n\n"
            "Give a short reason. Then end with a line that is YES or NO and nothing else."
        )
        return (user_message(text),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        answer = read_yes_no(judgement)
        if answer is None:
            return Score.unparsable("the judge said neither YES nor NO")
        word = "YES" if answer else "NO"
        return Score.of(word == item.answer.strip().upper(), None, f"the judge says {word}")

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        axes = sum(metrics.categories.values()) / len(metrics.categories) if metrics.categories else 0.0
        return Metrics(metrics.headline, {**metrics.values, "axes": axes}, metrics.counts, metrics.categories)


BENCHMARK = MultiChallenge()
