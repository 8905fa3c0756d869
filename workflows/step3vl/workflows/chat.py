"""A conversation with a model on the terminal: reasoning goes to stderr, answers to stdout."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, ImagePart, Message, Part, TextPart, image, text
from step3vl.data.storage import write_durably
from step3vl.inference import Backend, Completion, PaCoRe, PaCoReConfig, Request, Sampling, Usage
from step3vl.inference.client import ReplyPiece, ReplySplitter, RolloutBuilder, run_sync
from step3vl.inference.pacore import AnswerDelta, Finished, RolloutsRestarted
from step3vl.workflows.backends import open_backend, parse_rounds
from step3vl.workflows.command import Terminated
from step3vl.workflows.hypothesis_view import HypothesisView, printable

HELP = """\
/image FILE ...   add images to the next question
/pacore K         answer with PaCoRe: 4, 16, "32,4", low, medium, high; off for single answers
/reset            forget the conversation
/save FILE        save the conversation as a JSON line that `step3vl batch` reads
/quit             quit; so does Ctrl-D, and Ctrl-C stops an answer"""


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
    seed: int | None = None,
    as_json: bool = False,
) -> None:
    """Answer one prompt, or a dialogue from the terminal, in which each turn sees those before it.

    Args:
        model: A model folder, or the server's name for a model.
        prompt: The question; by default it is read from standard input, or a dialogue starts.
        images: Images that the first question is about.
        backend: The address of an OpenAI-compatible server.
        api_key: The server's key.
        rounds: Rollouts of each round of PaCoRe; empty for single answers.
        temperature: 0 takes the most likely token.
        max_new_tokens: Longest answer, in tokens.
        seed: The same seed gives the same answer; by default it is random.
        as_json: Whether to print answers as JSON lines.

    Raises:
        UserError: an image or the model cannot be read, or there is no question.
    """
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    attachments = [(path, read_image(path)) for path in images]  # before the model, which takes longer to load
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
        if not prompt:
            raise UserError("no question: give one after the model, or on standard input")
    answers = open_backend(model, backend, api_key)
    try:
        chat = Chat(answers, sampling, rounds, as_json)
        chat.attach(attachments)
        if prompt is not None:
            chat.ask(prompt)
        else:
            chat.talk()
    finally:
        run_sync(answers.close())


def read_image(path: Path) -> Image:
    """Read the image in a file. Raises UserError."""
    try:
        return Image.from_bytes(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such image") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give an image file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; give a complete JPEG, PNG, WebP, GIF, BMP or TIFF file") from None


class Chat:
    """The conversation so far, and how the next question will be answered."""

    def __init__(self, backend: Backend, sampling: Sampling, rounds: tuple[int, ...], as_json: bool):
        self.backend = backend
        self.sampling = sampling
        self.rounds = rounds
        self.as_json = as_json
        self.history: list[Message] = []
        self.images: list[tuple[Path, Image]] = []
        self._sent_images = 0
        self._aside = Console(stderr=True, highlight=False)

    def attach(self, images: Sequence[tuple[Path, Image]]) -> None:
        """Add images to the next question."""
        self.images += images

    def ask(self, question: str) -> None:
        """Print the answer, and keep both in the conversation. A question without an answer is dropped."""
        new = range(self._sent_images, len(self.images))
        parts: tuple[Part, ...] = (*(image(index) for index in new), text(question))
        turn = Message(role="user", content=parts)
        request = Request([*self.history, turn], [attached for _, attached in self.images])
        answer = run_sync(self._parallel(request) if self.rounds else self._single(request))
        self.history += [turn, Message(role="assistant", content=(text(answer),))]
        self._sent_images = len(self.images)

    def talk(self) -> None:
        """Read questions and commands from the terminal until its end."""
        self._aside.print(f"{self.backend.name or 'the server'}: ask, or /help", style="dim")
        while True:
            try:
                line = _read_line(self._aside)
                if line is None:
                    return
                if line.startswith("/"):
                    if not self._command(*line[1:].split(maxsplit=1)):
                        return
                elif line:
                    self.ask(line)
            except UserError as error:
                self._aside.print(f"error: {error}", style="red", markup=False)
            except Terminated:
                raise
            except KeyboardInterrupt:  # also at the prompt: it may come just as the answer has ended
                self._aside.print("\ninterrupted; Ctrl-D quits", style="dim")

    def _command(self, name: str = "", rest: str = "") -> bool:
        """Run a command; returns whether the conversation continues."""
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
        images = [(path.expanduser(), read_image(path.expanduser())) for path in paths]
        self.attach(images)
        return "\n".join(f"{path}: {attached.width} x {attached.height}" for path, attached in images)

    def _pacore(self, rest: str) -> str:
        self.rounds = parse_rounds(rest)
        if not self.rounds:
            return "single answers"
        return f"PaCoRe with {', then '.join(map(str, self.rounds))} rollouts, then the synthesis"

    def _reset(self, rest: str) -> str:
        self.history, self.images, self._sent_images = [], [], 0
        return "the conversation is forgotten"

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
            {"type": "image_url", "image_url": {"url": str(self.images[part.image][0].resolve())}}
            if isinstance(part, ImagePart)
            else {"type": "text", "text": part.text}
            for part in message.content
        ]
        return {"role": message.role, "content": content}

    async def _single(self, request: Request) -> str:
        printer = Printer(self._aside, silent=self.as_json)
        rollout = RolloutBuilder()
        deltas = self.backend.stream(request, self.sampling)
        async with aclosing(deltas):
            async for delta in deltas:
                rollout.add(delta)
                printer.feed(delta.text)
        completion = rollout.completion(0)
        return self._close(printer, completion, deltas.usage, None)

    async def _parallel(self, request: Request) -> str:
        config = PaCoReConfig(rounds=self.rounds, sampling=self.sampling, seed=self.sampling.seed)
        printer = Printer(self._aside, silent=self.as_json)
        view = HypothesisView(self._aside, silent=self.as_json)
        result = None
        with view:
            async with aclosing(PaCoRe(self.backend, config).stream(request)) as events:
                async for event in events:
                    if isinstance(event, AnswerDelta):
                        printer.feed(event.delta.text)
                    elif isinstance(event, Finished):
                        result = event.result
                    else:
                        if isinstance(event, RolloutsRestarted) and event.round == len(self.rounds):
                            printer.finish(None)
                            printer = Printer(self._aside, silent=self.as_json)
                        view.update(event)
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
        printer.finish(completion)
        if completion.finish_reason == "length":
            self._aside.print("(cut off at the length limit; --max-new-tokens raises it)", style="dim")
        return answer


class Printer:
    """Prints a reply as it is sampled: reasoning dim on stderr, the answer on stdout."""

    def __init__(self, aside: Console, silent: bool):
        self._aside = aside
        self._silent = silent
        self._splitter = ReplySplitter(tools=False)
        self._reasoned = False
        self._answered = False

    def feed(self, piece: str) -> None:
        if not self._silent:
            self._print(self._splitter.feed(piece))

    def finish(self, completion: Completion | None) -> None:
        """Print what remains of a reply, None for a lost one.

        A reply without `</think>` was printed as reasoning on stderr; stdout gets it as the answer.
        """
        if self._silent:
            return
        self._print(self._splitter.finish())
        if self._splitter.reasoning and completion is not None:
            self._print_answer(completion.answer)
        print(flush=True)

    def _print(self, pieces: Iterable[ReplyPiece]) -> None:
        for kind, words in pieces:
            if kind == "reasoning":
                self._reasoned = True
                self._aside.print(printable(words), end="", style="dim", markup=False, soft_wrap=True)
            else:
                self._print_answer(words)

    def _print_answer(self, words: str) -> None:
        if self._reasoned and not self._answered:
            self._aside.print()
        self._answered = True
        print(printable(words) if sys.stdout.isatty() else words, end="", flush=True)


def _read_line(aside: Console) -> str | None:
    """A line typed on the terminal, with editing and history where stdout is a terminal too; None at the end."""
    plain = sys.stdout.isatty()
    if plain:
        import readline  # noqa: F401  line editing for `input`
    try:
        return (input("> ") if plain else aside.input("> ")).strip()
    except EOFError:
        return None
