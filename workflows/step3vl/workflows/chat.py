"""A conversation with a model on the terminal: thoughts go to stderr, answers to stdout."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, Message, Part, image, text
from step3vl.inference import Engine, PaCoRe, PaCoReConfig, Request, Sampling
from step3vl.model import load_model

END_OF_THOUGHT = "</think>"


def run_chat(
    model: Path,
    prompt: str | None,
    images: Sequence[Path],
    *,
    pacore: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
) -> None:
    """Answers one prompt, or every line typed until an empty one; each turn sees those before it.

    Raises UserError for a picture or a model that cannot be read, and for no question at all.
    """
    pictures = [read_picture(path) for path in images]  # before the model, which takes longer to load
    engine = Engine(*load_model(model))
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    history: list[Message] = []
    asked = False
    for question in _questions(prompt):
        parts: list[Part] = [text(question)]
        if not history:
            parts = [*(image(number) for number in range(len(pictures))), *parts]
        history.append(Message(role="user", content=tuple(parts)))
        request = Request(messages=list(history), images=pictures)
        answer = _in_parallel(engine, request, sampling, pacore) if pacore else _streamed(engine, request, sampling)
        history.append(Message(role="assistant", content=(text(answer),)))
        asked = True
    if not asked and prompt is None and not sys.stdin.isatty():
        raise UserError("no question: give one after the model, or on standard input")


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


def parted(pieces: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Pieces of a reply with whether each belongs to the answer: what follows the end of the thought.

    The tag itself is left out. It may be cut between pieces, so what might be its beginning is held back.
    """
    held = ""
    pieces = iter(pieces)
    for piece in pieces:
        held += piece
        thought, tag, rest = held.partition(END_OF_THOUGHT)
        if tag:
            yield thought, False
            yield rest.lstrip("\n"), True
            yield from ((piece, True) for piece in pieces)
            return
        keep = next((n for n in range(len(END_OF_THOUGHT) - 1, 0, -1) if held.endswith(END_OF_THOUGHT[:n])), 0)
        yield held[: len(held) - keep], False
        held = held[len(held) - keep :]
    yield held, False


def _questions(prompt: str | None) -> Iterator[str]:
    if prompt is not None:
        yield prompt
    elif not sys.stdin.isatty():
        if piped := sys.stdin.read().strip():
            yield piped
    else:
        while question := Console(stderr=True).input("[bold cyan]> [/]").strip():
            yield question


def _streamed(engine: Engine, request: Request, sampling: Sampling) -> str:
    """Prints the reply as it is drawn and returns the answer; a reply without a thought is all answer."""
    aside = Console(stderr=True, highlight=False)
    thought, answer = "", ""
    for piece, final in parted(engine.stream(request, sampling)):
        if final:
            if thought and not answer:
                aside.print()
            answer += piece
            print(piece, end="", flush=True)
        else:
            thought += piece
            aside.print(piece, end="", style="dim", markup=False, soft_wrap=True)
    if not answer and thought:
        aside.print()
        answer = thought
        print(answer, end="")
    print()
    return answer


def _in_parallel(engine: Engine, request: Request, sampling: Sampling, rollouts: int) -> str:
    """Prints what each parallel answer concluded, then the synthesis, and returns it."""
    aside = Console(stderr=True, highlight=False)
    config = PaCoReConfig(rounds=(rollouts,), sampling=sampling, seed=sampling.seed or 0)
    with aside.status(f"{rollouts} answers in parallel, then one from them"):
        result = PaCoRe(engine, config).run(request)
    for number, completion in enumerate(result.rounds[0], start=1):
        aside.print(f"{number}: {completion.answer.strip()}", style="dim", markup=False, soft_wrap=True)
    print(result.answer.strip())
    return result.answer.strip()
