"""Files of questions to files of answers: every row appears once, whatever interrupts the run."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.inference import BackendError, Delta, EngineBackend, PaCoReConfig, Sampling
from step3vl.inference.batch import AnswerFile, BatchConfig, Question, answer_all, count_questions, read_questions
from step3vl.inference.client import DeltaStream, Usage

CONFIG = BatchConfig(sampling=Sampling(max_new_tokens=5), concurrency=4)
PEERS = [  # the fields of the sample file of StepFun's PaCoRe client
    {"id": "math_1", "messages": [{"role": "user", "content": "One and one?"}], "ground_truth": {"answer": "2"}},
    {"id": "code_1", "messages": [{"role": "user", "content": "Reverse a list."}], "category": "code"},
]


def lines(path: Path, rows: list) -> str:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return str(path)


def rows_of(path: Path) -> dict[str, dict]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows), "each id once"
    return {row["id"]: row for row in rows}


def answer(backend, source: str, out: Path, config: BatchConfig = CONFIG, retry_failed: bool = False):
    with AnswerFile(out, {"input": source}, retry_failed) as output:
        return asyncio.run(answer_all(backend, read_questions(source), output, config))


class FailingBackend:
    """Answers "yes", or raises the error that `failures` has for the text of the question."""

    name, context = "failing", None

    def __init__(self, failures: dict[str, BackendError] | None = None):
        self.failures = failures or {}
        self.questions: list[str] = []
        self.running = self.most = 0

    async def tokenize(self, request) -> list[int] | None:
        return None

    def stream(self, request, sampling, n=1) -> DeltaStream:
        deltas = DeltaStream(n)
        return deltas.bind(self._stream(request.messages[-1].content[-1].text, n, deltas))

    async def _stream(self, question: str, n: int, deltas: DeltaStream) -> AsyncGenerator[Delta, None]:
        self.questions.append(question)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.001)
            if question in self.failures:
                raise self.failures[question]
            for index in range(n):
                yield Delta(index, "yes", [1], None, "stop")
            deltas.usage = Usage(3, n)
        finally:
            self.running -= 1

    async def close(self) -> None: ...


def test_the_engine_answers_a_file_and_copies_its_fields(engine, tmp_path) -> None:
    source, out = lines(tmp_path / "q.jsonl", PEERS), tmp_path / "a.jsonl"
    summary = answer(EngineBackend(engine), source, out)
    rows = rows_of(out)
    assert sorted(rows) == ["code_1", "math_1"]
    assert rows["math_1"]["fields"] == {"ground_truth": {"answer": "2"}}
    assert rows["code_1"]["fields"] == {"category": "code"}
    assert all(row["status"] == "ok" and row["usage"]["completion_tokens"] <= 5 for row in rows.values())
    assert (summary.total, summary.answered, summary.failed, summary.already_answered) == (2, 2, 0, 0)
    assert summary.completion_tokens == sum(row["usage"]["completion_tokens"] for row in rows.values())
    assert summary.prompt_tokens == sum(row["usage"]["prompt_tokens"] for row in rows.values())


def test_an_answer_does_not_depend_on_the_other_questions(engine, tmp_path) -> None:
    both = lines(tmp_path / "q.jsonl", PEERS)
    single = lines(tmp_path / "single.jsonl", PEERS[1:])
    answer(EngineBackend(engine), both, tmp_path / "a.jsonl")
    answer(EngineBackend(engine), single, tmp_path / "b.jsonl", CONFIG.model_copy(update={"concurrency": 1}))
    first, second = (rows_of(tmp_path / name)["code_1"] for name in ("a.jsonl", "b.jsonl"))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    answer(EngineBackend(engine), single, tmp_path / "c.jsonl", CONFIG.model_copy(update={"seed": 1}))
    assert rows_of(tmp_path / "c.jsonl")["code_1"]["answer"] != first["answer"]


@pytest.mark.parametrize("trace", [False, True])
def test_pacore_answers_have_the_trace_of_their_rounds(engine, tmp_path, trace) -> None:
    config = CONFIG.model_copy(update={"pacore": PaCoReConfig(rounds=(3,)), "trace": trace})
    source = lines(tmp_path / "q.jsonl", PEERS)
    answer(EngineBackend(engine), source, tmp_path / "a.jsonl", config)
    for row in rows_of(tmp_path / "a.jsonl").values():
        assert [round_["rollouts"] for round_ in row["pacore"]["rounds"]] == [3, 1]
        assert row["usage"]["completion_tokens"] == sum(
            round_["completion_tokens"] for round_ in row["pacore"]["rounds"]
        )
        assert ("trajectories" in row["pacore"]["rounds"][0]) == trace


def test_answered_questions_are_not_asked_again(tmp_path) -> None:
    source = lines(tmp_path / "q.jsonl", [{"id": n, "prompt": f"q{n}"} for n in range(30)])
    out = tmp_path / "a.jsonl"
    backend = FailingBackend()
    assert answer(backend, source, out).answered == 30
    assert backend.most == CONFIG.concurrency
    assert not backend.running
    content = out.read_bytes()
    half = content[: len(content) // 2]
    out.write_bytes(half)
    again = FailingBackend()
    summary = answer(again, source, out)
    assert out.read_bytes().startswith(half[: half.rindex(b"\n") + 1])
    assert len(rows_of(out)) == 30
    assert (summary.already_answered, summary.answered) == (half.count(b"\n"), 30 - half.count(b"\n"))
    assert len(again.questions) == summary.answered
    assert answer(again, source, out).already_answered == 30


@settings(max_examples=40)
@given(cut=st.integers(0, 2000))
def test_a_file_truncated_anywhere_is_repaired(cut: int, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("truncated")
    source = lines(folder / "q.jsonl", [{"id": f"é{n}", "prompt": f"q{n}"} for n in range(9)])
    answer(FailingBackend(), source, folder / "a.jsonl")
    content = (folder / "a.jsonl").read_bytes()
    (folder / "a.jsonl").write_bytes(content[: cut % (len(content) + 1)])
    summary = answer(FailingBackend(), source, folder / "a.jsonl")
    assert len(rows_of(folder / "a.jsonl")) == summary.total == summary.already_answered + summary.answered == 9


def test_questions_that_cannot_be_answered_become_rows_with_the_reason(tmp_path, png) -> None:
    (tmp_path / "cut.png").write_bytes(png()[:50])
    rows = [
        {"id": "good", "prompt": "fine"},
        "{broken",
        {"id": "empty"},
        {"id": "lost", "prompt": "?", "image": "nowhere.png"},
        {"id": "cut", "prompt": "?", "image": "cut.png"},
        {"id": "url", "prompt": "?", "image": "https://example.org/a.png"},
        {"id": "role", "messages": [{"role": "king", "content": "?"}]},
        {"id": "part", "messages": [{"role": "user", "content": [{"type": "audio"}]}]},
        {"id": "index", "messages": [{"role": "user", "content": [{"type": "image"}]}]},
        {"id": "long", "prompt": "too long"},
        '"a string"',
    ]
    source, out = lines(tmp_path / "q.jsonl", rows), tmp_path / "a.jsonl"
    backend = FailingBackend({"too long": BackendError("context", 400)})
    summary = answer(backend, source, out)
    rows = rows_of(out)
    reasons = {
        "req_1": r":2: not JSON", "empty": "no messages and no prompt", "lost": "nowhere.png: ", "cut": "cut.png: ",
        "url": "not fetched", "role": "messages: ", "part": "neither text nor image",
        "index": "image 0, the row has 0", "long": "context", "req_10": "not a JSON object",
    }  # fmt: skip
    assert {id_ for id_, row in rows.items() if row["status"] == "failed"} == set(reasons)
    for id_, reason in reasons.items():
        assert reason in rows[id_]["error"]
        assert f"{source}:" in rows[id_]["error"]
    assert (summary.total, summary.answered, summary.failed) == (11, 1, 10)
    (tmp_path / "nowhere.png").write_bytes(png())
    again = answer(FailingBackend(), source, out, retry_failed=True)
    assert (again.total, again.already_answered, again.answered, again.failed) == (11, 1, 2, 8)
    assert rows_of(out)["lost"]["status"] == "ok"


def test_a_backend_that_fails_for_every_question_ends_the_run(tmp_path) -> None:
    source = lines(tmp_path / "q.jsonl", [{"id": n, "prompt": f"q{n}"} for n in range(100)])
    out = tmp_path / "a.jsonl"
    unknown = FailingBackend({f"q{n}": BackendError("who are you", 401) for n in range(100)})
    with pytest.raises(BackendError, match="who are you"):
        answer(unknown, source, out)
    assert rows_of(out) == {}
    assert unknown.running == 0
    away = FailingBackend({f"q{n}": BackendError("away", 503) for n in range(20, 100)})
    with pytest.raises(BackendError, match="away"):
        answer(away, source, out)
    rows = rows_of(out)
    assert sum(row["status"] == "ok" for row in rows.values()) == 20
    assert len(rows) < 30
    summary = answer(FailingBackend(), source, out, retry_failed=True)
    assert summary.answered + 20 == len(rows_of(out)) == 100


def test_a_file_has_a_single_writer_and_fixed_settings(tmp_path) -> None:
    out = tmp_path / "a.jsonl"
    with AnswerFile(out, {"seed": 1}), pytest.raises(UserError, match="another batch is writing it"):
        AnswerFile(out, {"seed": 1})
    with pytest.raises(UserError, match="was started with seed = 1, not 2"):
        AnswerFile(out, {"seed": 2})
    with AnswerFile(out, {"seed": 1}) as output:
        output.write({"id": "a", "status": "ok"})
    (tmp_path / "mine.txt").write_text("something else\n")
    with pytest.raises(UserError, match="was not written by a batch"):
        AnswerFile(tmp_path / "mine.txt", {"seed": 1})
    out.write_text("something else\n")
    with pytest.raises(UserError, match="a line is no answer"):
        AnswerFile(out, {"seed": 1})


def test_a_file_started_by_an_earlier_version_is_resumed(tmp_path) -> None:
    out = tmp_path / "a.jsonl"
    old = {
        "sampling": {"temperature": 0.5},  # some fields have been added since
        "pacore": {"rounds": [4], "seed": 0, "sampling": {"top_k": 3}, "minimum": 1, "unfinished": True},
    }
    (tmp_path / "a.jsonl.settings.json").write_text(json.dumps(old))
    out.write_text('{"id": "a", "status": "ok"}\n')
    settings = {
        "sampling": Sampling(temperature=0.5).model_dump(mode="json"),
        "pacore": {"rounds": [4], "min_rollouts": 1, "include_truncated": True},
    }
    with AnswerFile(out, settings) as output:
        assert output.done == {"a"}


def test_equal_ids_are_refused_with_both_locations(tmp_path) -> None:
    source = lines(tmp_path / "q.jsonl", [*PEERS, PEERS[0]])
    with pytest.raises(UserError, match=r"q\.jsonl:3: the id 'math_1' is used at .*q\.jsonl:1 already"):
        count_questions(source)


def loaded(path: Path) -> dict[str, Question]:
    return {question.id: question for question in read_questions(str(path))}


def test_images_come_from_files_data_urls_and_columns_in_place(tmp_path, png) -> None:
    (tmp_path / "a.png").write_bytes(png())
    data = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    text = {"type": "text", "text": "What?"}
    url = {"type": "image_url", "image_url": {"url": data}}
    rows = [
        {"id": "column", "prompt": "What?", "images": ["a.png", data]},
        {"id": "openai", "messages": [{"role": "user", "content": [text, url]}]},
        {"id": "named", "images": ["a.png"], "messages": [{"role": "user", "content": [text, {"type": "image"}]}]},
        {"id": "unnamed", "images": ["a.png"], "messages": [{"role": "user", "content": "What?"}]},
    ]  # fmt: skip
    lines(tmp_path / "q.jsonl", rows)
    expected = {
        "column": ["image", "image", "text"], "openai": ["text", "image"], "named": ["text", "image"],
        "unnamed": ["image", "text"],
    }  # fmt: skip
    for id_, question in loaded(tmp_path / "q.jsonl").items():
        request = question.load()
        assert [part.type for part in request.messages[-1].content] == expected[id_]
        assert {img.read() for img in request.images} == {png()}


def test_parquet_holds_bytes_and_messages_as_objects_or_json(tmp_path, png) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}]
    table = pa.table(
        {
            "id": ["a", "b"],
            "messages": [json.dumps(messages)] * 2,
            "image": [{"bytes": png(), "path": None}] * 2,
            "answer": ["red", "blue"],
        }
    )
    pq.write_table(table, tmp_path / "q.parquet")
    questions = loaded(tmp_path / "q.parquet")
    request = questions["b"].load()
    assert [message.role for message in request.messages] == ["system", "user"]
    assert [part.type for part in request.messages[-1].content] == ["image", "text"]
    assert request.images[0].read() == png()
    assert questions["b"].fields == {"answer": "blue"}
    pq.write_table(pa.table({"messages": [messages]}), tmp_path / "objects.parquet")
    assert [message.role for message in loaded(tmp_path / "objects.parquet")["req_0"].load().messages] == [
        "system",
        "user",
    ]
    assert count_questions(str(tmp_path / "q.parquet")) == 2
    assert count_questions(str(tmp_path / "objects.parquet")) == 1
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "q.parquet").read_bytes()[:100])
    with pytest.raises(UserError, match=r"cut\.parquet: not a complete Parquet file"):
        loaded(tmp_path / "cut.parquet")
    with pytest.raises(FileNotFoundError):
        loaded(tmp_path / "absent.parquet")
