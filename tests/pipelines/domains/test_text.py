import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.text import DOMAIN, BuildTexts, ReadRows, TextEntry
from step3vl.pipelines.domains.text_parts import SplitFiles

PROSE = (
    "It was a bright cold day in spring, and the clocks of the old town were striking eleven. Nobody looked up, for "
    "the market had begun, and there were apples to be weighed, letters to be posted and a lost dog to be found."
)


def entry_of(**fields: Any) -> TextEntry:
    return TextEntry(domain="text", name="t", **{"sources": [{"files": ["x"], "licence": "CC0-1.0"}], **fields})


def build(context: StepContext, path: Path, **fields: Any) -> tuple[list[Sample], Counter[str]]:
    entry = entry_of(**fields)
    split, read, label = SplitFiles(entry, context), ReadRows(entry, context), BuildTexts(entry, context)
    samples: list[Sample] = []
    dropped: Counter[str] = Counter()
    for row in rows_of(context, path, split, read):
        try:
            samples += label.process(row, rng_for(0))
        except Dropped as error:
            dropped[error.reason] += 1
        except ValueError as error:
            dropped[type(error).__name__] += 1
    return samples, dropped


def rows_of(context: StepContext, path: Path, split: SplitFiles, read: ReadRows) -> Iterator[Record[Any]]:
    for file in list_pattern(str(path), "CC0-1.0", entry="t", base=context.base, store=context.store):
        for part in split.process(Record(file.key, file), rng_for(0)):
            yield from read.process(part, rng_for(0))


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def test_documents_of_json_lines_with_a_reason_for_each_that_is_left_out(context: StepContext, tmp_path: Path) -> None:
    rows = [{"text": PROSE, "by": "CC-BY-4.0"}, {"text": "too short"}, {"text": "= - " * 200}, {"text": None}, [1]]
    path = write_lines(tmp_path / "a.jsonl", rows)
    with path.open("a") as file:
        file.write("{broken\n")
    samples, dropped = build(context, path, licence_field="by")
    assert [sample.content[0].text for sample in samples if sample.content] == [PROSE]  # type: ignore[union-attr]
    assert (samples[0].task, samples[0].source.licence) == ("text.document", "CC-BY-4.0")
    assert samples[0].source.traits == {"language": "en"}
    assert dropped == {"too_short": 2, "symbols": 1, "ValueError": 1, "JSONDecodeError": 1}


def test_what_is_no_text_fails_and_rows_before_damage_are_kept(context: StepContext, tmp_path: Path) -> None:
    rows = [{"text": f"{PROSE} {number}"} for number in range(1000)]
    data = gzip.compress(write_lines(tmp_path / "a.jsonl", rows).read_bytes())
    (tmp_path / "b.jsonl.gz").write_bytes(data[: len(data) // 2])
    samples, dropped = build(context, tmp_path / "b.jsonl.gz")
    assert 300 < len(samples) < 700 and dropped == {"CorpusError": 1}
    path = write_lines(tmp_path / "c.jsonl", [{"text": {"en": PROSE}}, {"content": PROSE}, {"text": [PROSE, PROSE]}])
    assert build(context, path) == ([], {"CorpusError": 3})


@pytest.mark.parametrize("suffix", ["jsonl.gz", "jsonl.zst", "parquet", "txt"])
def test_formats_give_the_same_documents(context: StepContext, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    texts = [f"{PROSE} {number}." for number in range(5)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    if suffix == "parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=2)
    elif suffix == "jsonl.gz":
        path.write_bytes(gzip.compress(lines))
    elif suffix == "jsonl.zst":
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(lines)
    else:
        path.write_text(texts[0], "utf-8")
        texts = texts[:1]
    samples, dropped = build(context, path)
    assert [part.text for sample in samples for part in sample.content or ()] == texts  # type: ignore[union-attr]
    assert not dropped
    assert len({sample.source.uri for sample in samples}) == len(texts)


def test_a_large_file_is_dealt_in_parts_and_every_row_comes_once(
    context: StepContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("step3vl.pipelines.sources.text.corpora._PART", 1000)
    path = write_lines(tmp_path / "a.jsonl", [{"text": f"{number} {PROSE}"} for number in range(40)])
    samples, _ = build(context, path)
    assert sorted(int(sample.content[0].text.split()[0]) for sample in samples) == list(range(40))  # type: ignore
    assert len({sample.source.uri.partition(".jsonl")[2].partition(".")[0] for sample in samples}) > 5


def _words(number: int) -> str:
    """A paragraph that is unlike others."""
    rng = rng_for(number)
    return " ".join("".join(rng.choices("aeiourstlnm", k=rng.randint(2, 8))) for _ in range(30))


def test_a_long_document_becomes_pieces(context: StepContext, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": "\n\n".join(_words(number) for number in range(20))}])
    samples, _ = build(context, path, characters=(200, 1000))
    assert len(samples) >= 4
    assert len({sample.source.uri for sample in samples}) == len(samples)


def test_other_languages_are_left_out(context: StepContext, tmp_path: Path) -> None:
    german = (
        "Es war einmal ein König, der hatte eine Tochter, die war so schön, dass die Sonne selber, die doch so vieles "
        "gesehen hat, sich verwunderte, sooft sie ihr ins Gesicht schien. Nahe bei dem Schlosse lag ein großer Wald."
    )
    path = write_lines(tmp_path / "a.jsonl", [{"text": PROSE}, {"text": german}])
    samples, dropped = build(context, path, languages=("de",))
    assert [sample.source.traits["language"] for sample in samples] == ["de"]
    assert dropped == {"other_language": 1}


THINKING = "<think>\nTwo and two are four, as counting on fingers shows.\n</think>\nThe answer is four."


def turns(answer: str, question: str = "What is two and two? Explain it to somebody who is five years old.") -> Any:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def test_conversations_with_reasoning_apart_from_the_answer(context: StepContext, tmp_path: Path) -> None:
    rows = [
        turns(THINKING),
        turns("The answer is four, which you can count on the fingers of one hand."),
        turns("<think>\nTwo and two are four, as counting on fingers shows, but the answer never comes"),
        turns(""),
        {"messages": [{"role": "user", "content": "Nobody answers this question, so it is of no use."}]},
        {"nothing": 1},
    ]
    path = write_lines(tmp_path / "a.jsonl", rows)
    samples, dropped = build(context, path, format="messages", characters=(40, 4000))
    assert [sample.task for sample in samples] == ["text.reasoning", "text.conversation"]
    assert samples[0].answer() == "The answer is four."
    assert samples[0].messages is not None
    assert samples[0].messages[-1].reasoning_content == "Two and two are four, as counting on fingers shows."
    assert dropped == {"broken_reasoning": 1, "no_answer": 1, "ValidationError": 1, "ValueError": 1}
    required, dropped = build(context, path, format="messages", characters=(40, 4000), reasoning="required")
    assert [sample.id for sample in required] == [samples[0].id]
    assert dropped["no_reasoning"] == 1
    removed, _ = build(context, path, format="messages", characters=(40, 4000), reasoning="removed")
    assert {sample.task for sample in removed} == {"text.conversation"}


def test_sharegpt_and_columns_give_the_same_conversation(context: StepContext, tmp_path: Path) -> None:
    question, answer = (
        "How many legs do three spiders have together?",
        "<think>\n3 × 8 = 24\n</think>\nThey have 24 legs.",
    )
    shared = {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}
    columns = {"q": question, "a": "They have 24 legs.", "why": "3 × 8 = 24"}
    first, _ = build(context, write_lines(tmp_path / "a.jsonl", [shared]), format="sharegpt", characters=(20, 400))
    second, _ = build(
        context, write_lines(tmp_path / "b.jsonl", [columns]),
        format="answers", question_field="q", answer_field="a", reasoning_field="why", characters=(20, 400),
    )  # fmt: skip
    third, _ = build(
        context, write_lines(tmp_path / "c.jsonl", [{"question": question, "answer": answer}]),
        format="answers", characters=(20, 400),
    )  # fmt: skip
    assert first[0].messages == second[0].messages == third[0].messages


def test_the_example_builds_every_row(context: StepContext) -> None:
    fields = dict(DOMAIN.example)
    (pattern,) = fields["sources"][0]["files"]
    samples, dropped = build(context, Path(pattern), **fields)
    assert len(samples) == 60
    assert not dropped
    assert {sample.task for sample in samples} == {"text.reasoning"}
    assert {sample.source.traits["language"] for sample in samples} >= {"en", "zh"}


def test_the_kind_follows_from_the_format() -> None:
    assert entry_of().kind == "document"
    assert entry_of(format="messages").kind == "conversation"
    with pytest.raises(ValidationError, match="leave kind out"):
        entry_of(kind="conversation")
