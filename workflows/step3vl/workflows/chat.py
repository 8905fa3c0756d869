"""A conversation with a model on the terminal: thoughts go to stderr, answers to stdout."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from step3vl.data.errors import UserError
from step3vl.data.files import write_durably
from step3vl.data.sample import Image, ImagePart, Message, Part, TextPart, image, text
from step3vl.inference import Backend, Completion, PaCoRe, PaCoReConfig, Request, Sampling, Usage
from step3vl.inference.backend import Rollout
from step3vl.inference.pacore import AnswerDelta, Finished, Restarted
from step3vl.inference.splitter import Splitter
from step3vl.inference.waiting import wait_for
from step3vl.workflows.answering import open_backend, parse_rounds
from step3vl.workflows.hypotheses import Hypotheses, printable

HELP = """\
/image FILE ...   show pictures with the next question
/pacore K         answer by PaCoRe: 4, 16, "32,4", low, medium, high; off for single answers
/reset            forget the conversation
/save FILE        write the conversation as a line of JSON, which `step3vl batch` can ask again
/quit             leave; Ctrl-D does too, Ctrl-C stops an answer"""


def run_chat(
    model: str | None,
    prompt: str | None,
    images: Sequence[Path],
    *,
    backend: str | None = None,
    api_key: str | None = None,
    rounds: tuple[int, ...] = (),
    temperature: float = 1.0,
    max_new_tokens: int = 1024,
    seed: int = 0,
    as_json: bool = False,
) -> None:
    """Answer one prompt, or what is typed or piped in; each turn sees those before it.

    Raises UserError for a picture or a model that cannot be read, and for no question at all.
    """
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    pictures = [(path, read_picture(path)) for path in images]  # before the model, which takes longer to load
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
        if not prompt:
            raise UserError("no question: give one after the model, or on standard input")
    answers = open_backend(model, backend, api_key)
    try:
        chat = Chat(answers, sampling, rounds, as_json)
        chat.show(pictures)
        if prompt is not None:
            chat.ask(prompt)
        else:
            chat.talk()
    finally:
        wait_for(answers.close())


def read_picture(path: Path) -> Image:
    """The picture in a file. Raises UserError."""
    try:
        return Image.from_bytes(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such picture") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give a picture file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; give a whole JPEG, PNG, WebP, GIF, BMP or TIFF file") from None


class Chat:
    """The conversation so far, and how the next question will be answered."""

    def __init__(self, backend: Backend, sampling: Sampling, rounds: tuple[int, ...], as_json: bool):
        self.backend = backend
        self.sampling = sampling
        self.rounds = rounds
        self.as_json = as_json
        self.history: list[Message] = []
        self.pictures: list[tuple[Path, Image]] = []
        self._asked_with = 0  # pictures that a question has shown already
        self._aside = Console(stderr=True, highlight=False)

    def show(self, pictures: Sequence[tuple[Path, Image]]) -> None:
        """Pictures that the next question will be about."""
        self.pictures += pictures

    def ask(self, question: str) -> None:
        """Print the answer, and remember both. A question that was not answered is forgotten."""
        new = range(self._asked_with, len(self.pictures))
        parts: tuple[Part, ...] = (*(image(index) for index in new), text(question))
        turn = Message(role="user", content=parts)
        request = Request([*self.history, turn], [picture for _, picture in self.pictures])
        answer = wait_for(self._parallel(request) if self.rounds else self._single(request))
        self.history += [turn, Message(role="assistant", content=(text(answer),))]
        self._asked_with = len(self.pictures)

    def talk(self) -> None:
        """Questions and commands from the terminal until its end."""
        self._aside.print(f"{self.backend.name or 'the server'}: ask, or /help", style="dim")
        for line in _typed(self._aside):
            try:
                if line.startswith("/"):
                    if not self._command(*line[1:].split(maxsplit=1)):
                        return
                else:
                    self.ask(line)
            except UserError as error:
                self._aside.print(f"error: {error}", style="red", markup=False)
            except KeyboardInterrupt:
                self._aside.print("\nstopped", style="dim")

    def _command(self, name: str = "", rest: str = "") -> bool:
        """Whether the conversation goes on."""
        if name in ("quit", "exit"):
            return False
        commands: dict[str, Callable[[str], str]] = {
            "image": self._image,
            "pacore": self._pacore,
            "reset": self._reset,
            "save": self._save,
            "help": lambda _: HELP,
        }
        if name not in commands:
            raise UserError(f"no command /{name}; /help lists them")
        self._aside.print(commands[name](rest.strip()), style="dim", markup=False)
        return True

    def _image(self, rest: str) -> str:
        if not rest:
            raise UserError("/image needs a file")
        paths = [Path(rest)] if Path(rest).exists() else [Path(name) for name in rest.split()]
        found = [(path.expanduser(), read_picture(path.expanduser())) for path in paths]
        self.show(found)
        return "\n".join(f"{path}: {picture.width} x {picture.height}" for path, picture in found)

    def _pacore(self, rest: str) -> str:
        self.rounds = parse_rounds(rest)
        if not self.rounds:
            return "single answers"
        return f"PaCoRe with {', then '.join(map(str, self.rounds))} rollouts, then the synthesis"

    def _reset(self, rest: str) -> str:
        self.history, self.pictures, self._asked_with = [], [], 0
        return "forgotten"

    def _save(self, rest: str) -> str:
        if not rest:
            raise UserError("/save needs a file")
        row = {"id": "chat", "messages": [self._openai(message) for message in self.history]}
        write_durably(Path(rest).expanduser(), json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return f"{rest}: {len(self.history)} messages"

    def _openai(self, message: Message) -> dict[str, Any]:
        if not any(isinstance(part, ImagePart) for part in message.content):
            return {
                "role": message.role,
                "content": "".join(p.text for p in message.content if isinstance(p, TextPart)),
            }
        content = [
            {"type": "image_url", "image_url": {"url": str(self.pictures[part.image][0].resolve())}}
            if isinstance(part, ImagePart)
            else {"type": "text", "text": part.text}
            for part in message.content
        ]
        return {"role": message.role, "content": content}

    async def _single(self, request: Request) -> str:
        printer = Printer(self._aside, silent=self.as_json)
        rollout = Rollout()
        deltas = self.backend.stream(request, self.sampling)
        async with aclosing(deltas):
            async for delta in deltas:
                rollout.add(delta)
                printer.feed(delta.text)
        completion = rollout.completion(0)
        return self._close(printer, completion, deltas.usage, None)

    async def _parallel(self, request: Request) -> str:
        config = PaCoReConfig(rounds=self.rounds, sampling=self.sampling, seed=self.sampling.seed or 0)
        printer = Printer(self._aside, silent=self.as_json)
        view = Hypotheses(self._aside, silent=self.as_json)
        result = None
        with view:
            async with aclosing(PaCoRe(self.backend, config).stream(request)) as events:
                async for event in events:
                    if isinstance(event, AnswerDelta):
                        printer.feed(event.delta.text)
                    elif isinstance(event, Finished):
                        result = event.result
                    else:
                        if isinstance(event, Restarted) and event.round == len(self.rounds):
                            printer.finish()
                            printer = Printer(self._aside, silent=self.as_json)
                        view.hear(event)
        assert result is not None
        return self._close(printer, result.rounds[-1][0], result.usage, result.trace.to_json())

    def _close(
        self, printer: "Printer", completion: Completion, usage: Usage | None, trace: dict[str, Any] | None
    ) -> str:
        answer = completion.answer.strip()
        if self.as_json:
            row = {
                "answer": answer,
                "reasoning": completion.reasoning,
                "finish_reason": completion.finish_reason,
                "usage": asdict(usage) if usage else None,
                **({"pacore": trace} if trace else {}),
            }
            print(json.dumps(row, ensure_ascii=False), flush=True)
            return answer
        printer.finish()
        if completion.finish_reason == "length":
            self._aside.print("(cut off at the limit; --max-new-tokens raises it)", style="dim")
        return answer


class Printer:
    """Prints a reply as it comes: the thought dim on stderr, the answer on stdout."""

    def __init__(self, aside: Console, silent: bool):
        self._aside = aside
        self._silent = silent
        self._splitter = Splitter(tools=False)
        self._thought = False
        self._answered = False

    def feed(self, piece: str) -> None:
        if self._silent:
            return
        for kind, words in self._splitter.feed(piece):
            if kind == "reasoning":
                self._thought = True
                self._aside.print(printable(words), end="", style="dim", markup=False, soft_wrap=True)
            else:
                self._say(words)

    def finish(self) -> None:
        """What is still to be said. A reply without an end of thought is all answer."""
        if self._silent:
            return
        for _, words in self._splitter.finish(stopped=True):
            self._say(words)
        print(flush=True)

    def _say(self, words: str) -> None:
        if self._thought and not self._answered:
            self._aside.print()
        self._answered = True
        print(printable(words) if sys.stdout.isatty() else words, end="", flush=True)


def _typed(aside: Console) -> Iterator[str]:
    """Lines from the terminal, without empty ones; edited and remembered where the prompt can stand on stdout."""
    plain = sys.stdout.isatty()
    if plain:
        import readline  # noqa: F401  line editing for `input`
    while True:
        try:
            line = (input("> ") if plain else aside.input("> ")).strip()
        except EOFError:
            return
        if line:
            yield line
