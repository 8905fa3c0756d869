"""Files of questions to files of answers: every row accounted for once, whatever happens in between."""

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
from step3vl.inference.backend import Deltas, Usage
from step3vl.inference.batch import BatchConfig, Output, answer_all
from step3vl.inference.questions import Question, count_questions, read_questions

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
    with Output(out, {"input": source}, retry_failed) as output:
        return asyncio.run(answer_all(backend, read_questions(source), output, config))


class Failing:
    """A backend that answers "yes", or fails with what `failures` holds for the text of the question."""

    name, context = "failing", None

    def __init__(self, failures: dict[str, BackendError] | None = None):
        self.failures = failures or {}
        self.asked: list[str] = []
        self.running = self.most = 0

    async def tokenize(self, request) -> list[int] | None:
        return None

    def stream(self, request, sampling, n=1) -> Deltas:
        deltas = Deltas(n)
        return deltas.over(self._stream(request.messages[-1].content[-1].text, n, deltas))

    async def _stream(self, question: str, n: int, deltas: Deltas) -> AsyncGenerator[Delta, None]:
        self.asked.append(question)
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


def test_the_engine_answers_a_peers_file_and_the_fields_come_along(engine, tmp_path) -> None:
    source, out = lines(tmp_path / "q.jsonl", PEERS), tmp_path / "a.jsonl"
    summary = answer(EngineBackend(engine), source, out)
    rows = rows_of(out)
    assert sorted(rows) == ["code_1", "math_1"]
    assert rows["math_1"]["fields"] == {"ground_truth": {"answer": "2"}}
    assert rows["code_1"]["fields"] == {"category": "code"}
    assert all(row["status"] == "ok" and row["usage"]["completion_tokens"] <= 5 for row in rows.values())
    assert (summary.total, summary.answered, summary.failed, summary.before) == (2, 2, 0, 0)
    assert summary.completion_tokens == sum(row["usage"]["completion_tokens"] for row in rows.values())
    assert summary.prompt_tokens == sum(row["usage"]["prompt_tokens"] for row in rows.values())


def test_an_answer_does_not_depend_on_the_other_questions(engine, tmp_path) -> None:
    whole = lines(tmp_path / "q.jsonl", PEERS)
    single = lines(tmp_path / "one.jsonl", PEERS[1:])
    answer(EngineBackend(engine), whole, tmp_path / "a.jsonl")
    answer(EngineBackend(engine), single, tmp_path / "b.jsonl", CONFIG.model_copy(update={"concurrency": 1}))
    first, second = (rows_of(tmp_path / name)["code_1"] for name in ("a.jsonl", "b.jsonl"))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    answer(EngineBackend(engine), single, tmp_path / "c.jsonl", CONFIG.model_copy(update={"seed": 1}))
    assert rows_of(tmp_path / "c.jsonl")["code_1"]["answer"] != first["answer"]


@pytest.mark.parametrize("trace", [False, True])
def test_pacore_answers_come_with_the_account_of_their_rounds(engine, tmp_path, trace) -> None:
    config = CONFIG.model_copy(update={"pacore": PaCoReConfig(rounds=(3,)), "trace": trace})
    source = lines(tmp_path / "q.jsonl", PEERS)
    answer(EngineBackend(engine), source, tmp_path / "a.jsonl", config)
    for row in rows_of(tmp_path / "a.jsonl").values():
        assert [one["rollouts"] for one in row["pacore"]["rounds"]] == [3, 1]
        assert row["usage"]["completion_tokens"] == sum(one["completion_tokens"] for one in row["pacore"]["rounds"])
        assert ("trajectories" in row["pacore"]["rounds"][0]) == trace


def test_what_is_done_is_not_asked_again(tmp_path) -> None:
    source = lines(tmp_path / "q.jsonl", [{"id": n, "prompt": f"q{n}"} for n in range(30)])
    out = tmp_path / "a.jsonl"
    backend = Failing()
    assert answer(backend, source, out).answered == 30
    assert backend.most == CONFIG.concurrency
    assert not backend.running
    content = out.read_bytes()
    half = content[: len(content) // 2]
    out.write_bytes(half)
    again = Failing()
    summary = answer(again, source, out)
    assert out.read_bytes().startswith(half[: half.rindex(b"\n") + 1])
    assert len(rows_of(out)) == 30
    assert (summary.before, summary.answered) == (half.count(b"\n"), 30 - half.count(b"\n"))
    assert len(again.asked) == summary.answered
    assert answer(again, source, out).before == 30


@settings(max_examples=40)
@given(cut=st.integers(0, 2000))
def test_a_file_that_was_torn_anywhere_is_mended(cut: int, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("torn")
    source = lines(folder / "q.jsonl", [{"id": f"é{n}", "prompt": f"q{n}"} for n in range(9)])
    answer(Failing(), source, folder / "a.jsonl")
    whole = (folder / "a.jsonl").read_bytes()
    (folder / "a.jsonl").write_bytes(whole[: cut % (len(whole) + 1)])
    summary = answer(Failing(), source, folder / "a.jsonl")
    assert len(rows_of(folder / "a.jsonl")) == summary.total == summary.before + summary.answered == 9


def test_questions_that_cannot_be_answered_become_rows_that_say_why(tmp_path, png) -> None:
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
    backend = Failing({"too long": BackendError("context", 400)})
    summary = answer(backend, source, out)
    found = rows_of(out)
    reasons = {
        "req_1": r":2: not JSON", "empty": "no messages and no prompt", "lost": "nowhere.png: ", "cut": "cut.png: ",
        "url": "not fetched", "role": "messages: ", "part": "neither text nor image",
        "index": "picture 0, the row has 0", "long": "context", "req_10": "not a JSON object",
    }  # fmt: skip
    assert {id_ for id_, row in found.items() if row["status"] == "failed"} == set(reasons)
    for id_, reason in reasons.items():
        assert reason in found[id_]["error"]
        assert f"{source}:" in found[id_]["error"]
    assert (summary.total, summary.answered, summary.failed) == (11, 1, 10)
    (tmp_path / "nowhere.png").write_bytes(png())
    again = answer(Failing(), source, out, retry_failed=True)
    assert (again.total, again.before, again.answered, again.failed) == (11, 1, 2, 8)
    assert rows_of(out)["lost"]["status"] == "ok"


def test_a_backend_that_fails_for_all_ends_the_run_and_no_more_is_lost(tmp_path) -> None:
    source = lines(tmp_path / "q.jsonl", [{"id": n, "prompt": f"q{n}"} for n in range(100)])
    out = tmp_path / "a.jsonl"
    unknown = Failing({f"q{n}": BackendError("who are you", 401) for n in range(100)})
    with pytest.raises(BackendError, match="who are you"):
        answer(unknown, source, out)
    assert rows_of(out) == {}
    assert unknown.running == 0
    away = Failing({f"q{n}": BackendError("away", 503) for n in range(20, 100)})
    with pytest.raises(BackendError, match="away"):
        answer(away, source, out)
    rows = rows_of(out)
    assert sum(row["status"] == "ok" for row in rows.values()) == 20
    assert len(rows) < 30
    summary = answer(Failing(), source, out, retry_failed=True)
    assert summary.answered + 20 == len(rows_of(out)) == 100


def test_two_processes_do_not_write_one_file_and_settings_stay(tmp_path) -> None:
    out = tmp_path / "a.jsonl"
    with Output(out, {"seed": 1}), pytest.raises(UserError, match="another batch is writing it"):
        Output(out, {"seed": 1})
    with pytest.raises(UserError, match="was begun with seed = 1, not 2"):
        Output(out, {"seed": 2})
    with Output(out, {"seed": 1}) as output:
        output.write({"id": "a", "status": "ok"})
    (tmp_path / "mine.txt").write_text("something else\n")
    with pytest.raises(UserError, match="no batch of ours began it"):
        Output(tmp_path / "mine.txt", {"seed": 1})
    out.write_text("something else\n")
    with pytest.raises(UserError, match="a line is no answer"):
        Output(out, {"seed": 1})


def test_equal_ids_are_refused_with_both_places(tmp_path) -> None:
    source = lines(tmp_path / "q.jsonl", [*PEERS, PEERS[0]])
    with pytest.raises(UserError, match=r"q\.jsonl:3: the id 'math_1' stands at .*q\.jsonl:1 already"):
        count_questions(source)


def loaded(path: Path) -> dict[str, Question]:
    return {question.id: question for question in read_questions(str(path))}


def test_pictures_come_from_files_data_urls_and_columns_in_place(tmp_path, png) -> None:
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
        assert {one.read() for one in request.images} == {png()}


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
    with pytest.raises(UserError, match=r"cut\.parquet: not a whole Parquet file"):
        loaded(tmp_path / "cut.parquet")
    with pytest.raises(FileNotFoundError):
        loaded(tmp_path / "absent.parquet")
