"""Chat answers about images: one question, through pipes, and on a terminal; bad input is one clear line."""

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.inference import Engine, EngineBackend
from step3vl.inference.batch import read_questions
from step3vl.inference.server.app import create_app
from step3vl.model import load_model
from step3vl.workflows.backends import parse_rounds
from step3vl.workflows.chat import run_chat
from step3vl.workflows.hypothesis_view import printable

SETTINGS = {"temperature": 1.0, "max_new_tokens": 12, "seed": 3}


@pytest.fixture
def image(corpus: Path) -> Path:
    return corpus / "contact_sheet.png"


def test_an_answer_goes_to_stdout_and_the_same_seed_repeats_it(model: Path, image: Path, capsys) -> None:
    answers = []
    for _ in range(2):
        run_chat(str(model), "What is this?", [image, image], **SETTINGS)
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert answers[0].strip()


@pytest.mark.parametrize("rounds", [(), (2,)])
def test_without_a_seed_the_same_question_gets_another_answer(model: Path, rounds, capsys) -> None:
    for _ in range(2):
        run_chat(str(model), "What is this?", [], rounds=rounds, max_new_tokens=12, as_json=True)
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first)["answer"] != json.loads(second)["answer"]


def test_pacore_lists_each_answer_and_prints_the_synthesis(model: Path, image: Path, capsys) -> None:
    run_chat(str(model), "What is this?", [image], rounds=(3, 2), **SETTINGS)
    captured = capsys.readouterr()
    assert captured.out.strip()
    lines = [line.split(":")[0] for line in captured.err.splitlines()]
    assert [line for line in lines if line in ("1", "2", "3", "round 1", "round 2")] == [
        *("round 1", "1", "2", "3"),
        *("round 2", "1", "2"),
    ]


def test_json_has_the_answer_its_reasoning_and_usage(model: Path, image: Path, capsys) -> None:
    run_chat(str(model), "What is this?", [image], as_json=True, **SETTINGS)
    captured = capsys.readouterr()
    single = json.loads(captured.out)
    assert set(single) == {"answer", "reasoning", "finish_reason", "usage"}
    assert single["usage"]["completion_tokens"] <= 12
    assert not captured.err.strip()
    run_chat(str(model), "What is this?", [image], rounds=(3,), as_json=True, **SETTINGS)
    captured = capsys.readouterr()
    pacore = json.loads(captured.out)["pacore"]
    assert [len(round_trace["trajectories"]) for round_trace in pacore["rounds"]] == [3, 1]
    assert not captured.err.strip()


def test_a_missing_image_is_reported_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"page\.png: no such image"):
        run_chat(str(tmp_path / "no model"), "What?", [tmp_path / "page.png"], **SETTINGS)


def test_a_truncated_image_is_reported(tmp_path: Path, image: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(image.read_bytes()[:90])
    with pytest.raises(UserError, match=r"cut\.png: .*; give a complete JPEG"):
        run_chat(str(tmp_path), "What?", [cut], **SETTINGS)


def test_a_missing_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model folder at .*absent"):
        run_chat(str(tmp_path / "absent"), "What?", [], **SETTINGS)
    with pytest.raises(UserError, match=r"no model: give its folder, or --backend"):
        run_chat(None, "What?", [], **SETTINGS)


def test_a_checkpoint_of_another_shape_is_reported(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    config = json.loads((other / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"do not fit its config\.json: .* of another shape"):
        run_chat(str(other), "What?", [], **SETTINGS)


def test_another_model_type_is_reported(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="model_type 'bert'"):
        run_chat(str(tmp_path), "What?", [], **SETTINGS)


@pytest.fixture
def url(model: Path, listening) -> Iterator[str]:
    """The application of `step3vl serve`, with the model."""
    with listening(create_app({"tiny": EngineBackend(Engine(*load_model(str(model))))})) as address:
        yield address


def test_a_server_answers_as_the_model_itself_does(model: Path, image: Path, url: str, capsys) -> None:
    for rounds in ((), (3,)):
        replies = []
        for chosen, backend in ((str(model), None), (None, url), ("tiny", url)):
            run_chat(chosen, "What is this?", [image], backend=backend, rounds=rounds, as_json=True, **SETTINGS)
            row = json.loads(capsys.readouterr().out)
            counts = {name: row["usage"][name] for name in ("prompt_tokens", "completion_tokens")}
            replies.append((row["answer"], row["finish_reason"], counts))
        assert replies[0] == replies[1] == replies[2]
    with pytest.raises(UserError, match="404"):
        run_chat("another", "What is this?", [image], backend=url, **SETTINGS)


@pytest.mark.parametrize(
    ("value", "rounds"), [("off", ()), ("0", ()), ("16", (16,)), ("32,4", (32, 4)), ("medium", (16,))]
)
def test_rounds_are_levels_or_numbers(value: str, rounds: tuple[int, ...]) -> None:
    assert parse_rounds(value) == rounds
    for wrong in ("many", "4,0", "-1", "", "4,"):
        with pytest.raises(UserError, match="rollouts for each round such as 32,4"):
            parse_rounds(wrong)


def test_replies_cannot_control_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07c\x9bd\r\n\te") == "a[2Jbcd\n\te"


COMMAND = [sys.executable, "-m", "step3vl.workflows.cli", "chat"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
LIMITS = ["--max-new-tokens", "12", "--seed", "3"]


@pytest.mark.slow
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
    """A process on a pseudo-terminal."""

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
        """Read until all these words have appeared, and return what was read."""
        end = time.monotonic() + seconds
        while not all(word in self.seen for word in words):
            assert time.monotonic() < end, f"no {words} in {self.seen[-4000:]!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:  # the other side is closed
                    assert all(word in self.seen for word in words), self.seen
        seen, self.seen = self.seen, ""
        return seen

    def signal_at_prompt(self, number: int, ended: Callable[[], bool]) -> None:
        """Send a signal until it has had its effect.

        Python sees a signal that comes between what `input` shows and its wait for a key only with the next one.
        """
        for _ in range(10):
            os.killpg(self.process.pid, number)
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                if ended():
                    return
        raise AssertionError(f"signal {number} has no effect: {self.seen!r}")

    def close(self) -> int:
        try:
            return self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            os.close(self.master)


@pytest.mark.slow
def test_a_dialogue_on_a_terminal(model: Path, image: Path, tmp_path: Path) -> None:
    terminal = Terminal([*COMMAND, str(model), *LIMITS])
    terminal.until("ask, or /help", "> ")
    terminal.type(f"/image {image}\n")
    terminal.until("56 x 56", "> ")
    terminal.type("How many squares are there?\n")
    terminal.until("limit", "> ")
    terminal.type("/pacore 3\n")
    terminal.until("PaCoRe with 3 rollouts", "> ")
    terminal.type("And now?\n")
    screen = terminal.until("\r\n1: ".replace("\r\n", ""), "2: ", "3: ", "limit", "> ")
    assert "3 answers in parallel" in screen, "the live table"
    terminal.type("/image nowhere.png\n")
    terminal.until("error: nowhere.png: no such image", "> ")
    terminal.type("/nonsense\n")
    terminal.until("error: no command /nonsense", "> ")
    terminal.type(f"/save {tmp_path}/talk.jsonl\n")
    terminal.until("4 messages", "> ")
    terminal.type("/reset\n")
    terminal.until("the conversation is forgotten", "> ")
    terminal.type("/help\n")
    terminal.until("/save FILE", "> ")
    terminal.type("/quit\n")
    assert terminal.close() == 0
    (saved,) = read_questions(str(tmp_path / "talk.jsonl"))
    request = saved.load()
    assert [message.role for message in request.messages] == ["user", "assistant", "user", "assistant"]
    assert [part.type for part in request.messages[0].content] == ["image", "text"]
    assert request.images[0].read() == image.read_bytes()


@pytest.mark.slow
def test_interrupts_stop_an_answer_and_drop_a_line_and_sigterm_ends_the_dialogue(model: Path) -> None:
    """An interrupt that comes just after an answer has ended must not lose the conversation."""
    # So many tokens that the last answer is far from its end when the interrupt comes, however late that is.
    terminal = Terminal([*COMMAND, str(model), "--max-new-tokens", "16000", "--pacore", "128"])
    terminal.until("> ")
    # More than fits is refused, and the dialogue continues.
    terminal.type(f"{'0 ' * 1000}\n")
    terminal.until("error: ", "max_new_tokens", "> ")
    terminal.type("Hello?\n")
    terminal.until("128 answers in parallel")
    os.killpg(terminal.process.pid, signal.SIGINT)
    terminal.until("interrupted", "> ")
    terminal.type("/nonsense")
    terminal.until("/nonsense")
    terminal.signal_at_prompt(signal.SIGINT, lambda: bool(terminal.until("interrupted", "> ", seconds=5)))
    terminal.type("/help\n")
    assert "no command" not in terminal.until("/save FILE", "> ")
    time.sleep(1)  # a second signal would end the process while it ends
    terminal.signal_at_prompt(signal.SIGTERM, lambda: terminal.process.wait(30) is not None)
    assert terminal.close() == 130
