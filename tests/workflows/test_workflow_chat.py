"""Chat answers about pictures, in one go, through pipes and on a terminal, and bad input is one clear line."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.inference import Engine, EngineBackend
from step3vl.inference.questions import read_questions
from step3vl.inference.server.app import create_app
from step3vl.model import load_model
from step3vl.workflows.answering import parse_rounds
from step3vl.workflows.chat import run_chat
from step3vl.workflows.hypotheses import printable

SETTINGS = {"temperature": 1.0, "max_new_tokens": 12, "seed": 3}


@pytest.fixture
def picture(corpus: Path) -> Path:
    return corpus / "contact_sheet.png"


def test_an_answer_goes_to_stdout_and_the_same_seed_repeats_it(model: Path, picture: Path, capsys) -> None:
    said = []
    for _ in range(2):
        run_chat(str(model), "What is this?", [picture, picture], **SETTINGS)
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].strip()


def test_pacore_shows_each_answer_and_prints_the_synthesis(model: Path, picture: Path, capsys) -> None:
    run_chat(str(model), "What is this?", [picture], rounds=(3, 2), **SETTINGS)
    shown = capsys.readouterr()
    assert shown.out.strip()
    lines = [line.split(":")[0] for line in shown.err.splitlines()]
    assert [line for line in lines if line in ("1", "2", "3", "round 1", "round 2")] == [
        *("round 1", "1", "2", "3"),
        *("round 2", "1", "2"),
    ]


def test_json_holds_the_answer_and_all_that_led_to_it(model: Path, picture: Path, capsys) -> None:
    run_chat(str(model), "What is this?", [picture], as_json=True, **SETTINGS)
    shown = capsys.readouterr()
    single = json.loads(shown.out)
    assert set(single) == {"answer", "reasoning", "finish_reason", "usage"}
    assert single["usage"]["completion_tokens"] <= 12
    assert not shown.err.strip()
    run_chat(str(model), "What is this?", [picture], rounds=(3,), as_json=True, **SETTINGS)
    shown = capsys.readouterr()
    pacore = json.loads(shown.out)["pacore"]
    assert [len(one["trajectories"]) for one in pacore["rounds"]] == [3, 1]
    assert not shown.err.strip()


def test_a_missing_picture_is_named_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"page\.png: no such picture"):
        run_chat(str(tmp_path / "no model"), "What?", [tmp_path / "page.png"], **SETTINGS)


def test_a_cut_picture_says_what_is_wrong(tmp_path: Path, picture: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture.read_bytes()[:90])
    with pytest.raises(UserError, match=r"cut\.png: .*; give a whole JPEG"):
        run_chat(str(tmp_path), "What?", [cut], **SETTINGS)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model folder at .*absent"):
        run_chat(str(tmp_path / "absent"), "What?", [], **SETTINGS)
    with pytest.raises(UserError, match=r"no model: give its folder, or --backend"):
        run_chat(None, "What?", [], **SETTINGS)


def test_a_checkpoint_of_another_shape_is_named(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    config = json.loads((other / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"do not fit its config\.json: .* of another shape"):
        run_chat(str(other), "What?", [], **SETTINGS)


def test_another_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="model_type 'bert'"):
        run_chat(str(tmp_path), "What?", [], **SETTINGS)


@pytest.fixture
def url(model: Path, listening) -> Iterator[str]:
    """`step3vl serve`'s own application over the model."""
    with listening(create_app({"tiny": EngineBackend(Engine(*load_model(str(model))))})) as address:
        yield address


def test_a_server_answers_as_the_model_itself_does(model: Path, picture: Path, url: str, capsys) -> None:
    for rounds in ((), (3,)):
        said = []
        for chosen, backend in ((str(model), None), (None, url), ("tiny", url)):
            run_chat(chosen, "What is this?", [picture], backend=backend, rounds=rounds, as_json=True, **SETTINGS)
            row = json.loads(capsys.readouterr().out)
            counts = {name: row["usage"][name] for name in ("prompt_tokens", "completion_tokens")}
            said.append((row["answer"], row["finish_reason"], counts))
        assert said[0] == said[1] == said[2]
    with pytest.raises(UserError, match="404"):
        run_chat("another", "What is this?", [picture], backend=url, **SETTINGS)


@pytest.mark.parametrize(
    ("value", "rounds"), [("off", ()), ("0", ()), ("16", (16,)), ("32,4", (32, 4)), ("medium", (16,))]
)
def test_rounds_are_levels_or_numbers(value: str, rounds: tuple[int, ...]) -> None:
    assert parse_rounds(value) == rounds
    for wrong in ("many", "4,0", "-1", "", "4,"):
        with pytest.raises(UserError, match="rollouts for each round such as 32,4"):
            parse_rounds(wrong)


def test_a_models_words_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07c\x9bd\r\n\te") == "a[2Jbcd\n\te"


COMMAND = [sys.executable, "-m", "step3vl.workflows.cli", "chat"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
LIMITS = ["--max-new-tokens", "12", "--seed", "3"]


def test_a_question_on_a_pipe_is_answered_on_a_pipe(model: Path) -> None:
    done = subprocess.run(
        [*COMMAND, str(model), *LIMITS],
        input="What is this?\nAnd that?",
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=120,
    )
    assert (done.returncode, done.stdout.count("\x1b")) == (0, 0)
    assert done.stdout.strip()
    empty = subprocess.run(
        [*COMMAND, str(model)], input=" \n", capture_output=True, text=True, env=ENVIRONMENT, timeout=120
    )
    assert empty.returncode == 2
    assert "error: no question" in empty.stderr


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, command: list[str]):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=ENVIRONMENT, start_new_session=True
        )
        os.close(slave)
        self.seen = ""

    def type(self, words: str) -> None:
        os.write(self.master, words.encode())

    def until(self, *words: str, seconds: float = 60.0) -> str:
        """What appears until all these words have; what came before is forgotten."""
        end = time.monotonic() + seconds
        while not all(word in self.seen for word in words):
            assert time.monotonic() < end, f"no {words} in {self.seen!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:  # the other side is closed
                    assert all(word in self.seen for word in words), self.seen
        seen, self.seen = self.seen, ""
        return seen

    def close(self) -> int:
        try:
            return self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            os.close(self.master)


def test_a_dialogue_on_a_terminal(model: Path, picture: Path, tmp_path: Path) -> None:
    terminal = Terminal([*COMMAND, str(model), *LIMITS])
    terminal.until("ask, or /help", "> ")
    terminal.type(f"/image {picture}\n")
    terminal.until("56 x 56", "> ")
    terminal.type("How many squares are there?\n")
    terminal.until("limit", "> ")
    terminal.type("/pacore 3\n")
    terminal.until("PaCoRe with 3 rollouts", "> ")
    terminal.type("And now?\n")
    shown = terminal.until("\r\n1: ".replace("\r\n", ""), "2: ", "3: ", "limit", "> ")
    assert "3 answers in parallel" in shown, "the live table"
    terminal.type("/image nowhere.png\n")
    terminal.until("error: nowhere.png: no such picture", "> ")
    terminal.type("/nonsense\n")
    terminal.until("error: no command /nonsense", "> ")
    terminal.type(f"/save {tmp_path}/talk.jsonl\n")
    terminal.until("4 messages", "> ")
    terminal.type("/reset\n")
    terminal.until("forgotten", "> ")
    terminal.type("/help\n")
    terminal.until("/save FILE", "> ")
    terminal.type("/quit\n")
    assert terminal.close() == 0
    (saved,) = read_questions(str(tmp_path / "talk.jsonl"))
    request = saved.load()
    assert [message.role for message in request.messages] == ["user", "assistant", "user", "assistant"]
    assert [part.type for part in request.messages[0].content] == ["image", "text"]
    assert request.images[0].read() == picture.read_bytes()


def test_ctrl_c_stops_an_answer_and_not_the_dialogue(model: Path) -> None:
    terminal = Terminal([*COMMAND, str(model), "--max-new-tokens", "100000"])
    terminal.until("> ")
    terminal.type("Hello?\n")
    # More than fits is refused, and the dialogue goes on.
    terminal.until("error: ", "set max_new_tokens", "> ")
    terminal.type("/quit\n")
    assert terminal.close() == 0
    # So many that the last of them is far from its end when the interrupt comes, however late that is.
    terminal = Terminal([*COMMAND, str(model), "--max-new-tokens", "30000", "--pacore", "128"])
    terminal.until("> ")
    terminal.type("Hello?\n")
    terminal.until("128 answers in parallel")
    os.killpg(terminal.process.pid, signal.SIGINT)
    terminal.until("stopped", "> ")
    terminal.type("\x04")
    assert terminal.close() == 0
