"""MM-MT-Bench: conversations of several turns about images, each reply rated from 1 to 10."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.data.sample import Message, Part
from step3vl.data.sample import image as image_part
from step3vl.data.sample import text as text_part
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored, by_category
from step3vl.evaluation.judgements import rated, read_rating
from step3vl.evaluation.prompts import user_message


class MMMTBench(JudgedBenchmark):
    """Every assistant turn of a conversation is an item; the turns before it are the references."""

    about = About(
        name="mm-mt-bench",
        title="MM-MT-Bench",
        paper="https://arxiv.org/abs/2410.07073",
        licence="Apache-2.0",
        items=139,
        repeats=4,
        family="bare",
        metric="mean rating from 1 to 10",
        files=(DataFile("**/*.parquet", "https://huggingface.co/datasets/mistralai/MM-MT-Bench", "30 MB"),),
        judge="gpt-4o-2024-05-13",
        notes=(
            "Earlier turns of a conversation are the reference's, so that all models answer the same question.",
            "The judge's prompt is a paraphrase of the authors', and it sees the images.",
            "A reply that the judge gave no rating to is left out of the mean and counted as unparsable.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        number = 0
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                require_fields(record, ("conversation", "category"), path)
                values = record.get("images") or [record.get("image")]
                encoded = tuple(image_bytes(each, data) for each in values if each) if images else ()
                yield from self._turns(record, number, encoded, path)
                number += 1

    def _turns(
        self, record: Mapping[str, Any], number: int, images: tuple[bytes | Path, ...], path: Path
    ) -> Iterator[Item]:
        turns = record["conversation"]
        turns = json.loads(turns) if isinstance(turns, str) else turns
        messages: list[Message] = []
        count = 0
        for index, turn in enumerate(turns):
            if turn.get("role") not in ("user", "assistant"):
                raise UserError(f"{path}: a turn has the role {turn.get('role')!r}; download the file again")
            if turn["role"] == "assistant":
                id, fields = f"{number}/{index // 2}", {"turn": index // 2}
                yield Item(id, tuple(messages), _text(turn), images, str(number), record["category"], fields)
            parts: list[Part] = []
            for part in turn["content"] if isinstance(turn["content"], list) else [turn["content"]]:
                if isinstance(part, dict) and part.get("type") != "text":
                    parts.append(image_part(count))
                    count += 1
                else:
                    parts.append(text_part(part["text"] if isinstance(part, dict) else part))
            messages.append(Message(role=turn["role"], content=tuple(parts)))

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        text = (
            "Rate the reply of an assistant to the last question of the conversation above, which has images. "
            "Consider whether it is correct, helpful and relevant, and compare it with the reference.\n\n"
            f"# Reference\n{item.answer}\n\n# Reply\n{response}\n\n"
            "Explain your rating, name mistakes, and end with it, from 1 to 10, in this form: [[5]]."
        )
        return (*item.messages, Message(role="assistant", content=(text_part(response),)), user_message(text))

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        return rated(read_rating(judgement))

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        return Metrics("rating", {"rating": _mean(scored)}, metrics.counts, by_category(scored, _mean))


def _text(turn: Mapping[str, Any]) -> str:
    content = turn["content"]
    parts = content if isinstance(content, list) else [content]
    return "".join(part if isinstance(part, str) else part.get("text", "") for part in parts)


def _mean(scored: Sequence[Scored]) -> float:
    ratings = [each.score.details["rating"] for each in scored if "rating" in each.score.details]
    return sum(ratings) / len(ratings) if ratings else 0.0


BENCHMARK = MMMTBench()
