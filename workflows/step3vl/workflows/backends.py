"""What `chat`, `batch` and `serve` share: the backend that answers, and the rounds of PaCoRe."""

from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.inference import Backend, OpenAIBackend
from step3vl.inference.pacore import LEVELS

ROUNDS: dict[str, tuple[int, ...]] = {"off": (), **LEVELS}


def open_backend(model: str | None, url: str | None, api_key: str | None, device: str = "cpu") -> Backend:
    """Open a model folder in this process, or a model of an OpenAI-compatible server.

    Args:
        model: A model folder; with ``url``, the server's name for a model, by default its first.
        url: The server's address.
        api_key: The server's key.
        device: Where a model folder runs: "cpu", "cuda", "cuda:1".

    Raises:
        UserError: neither is given, or the model cannot be loaded.
    """
    if url is not None:
        return OpenAIBackend(url, model, api_key=api_key)
    if model is None:
        raise UserError("no model: give its folder, or --backend with a server's address")
    from step3vl.inference import Engine, EngineBackend
    from step3vl.model import load_model

    return EngineBackend(Engine(*load_model(model, device=device), device), Path(model).name)


def parse_rounds(value: str) -> tuple[int, ...]:
    """Parse `off`, a level such as `high`, or rollouts for each round such as `16` and `32,4`. Raises UserError."""
    if value in ROUNDS:
        return ROUNDS[value]
    try:
        rounds = tuple(int(number) for number in value.split(","))
    except ValueError:
        rounds = (0,)
    if rounds == (0,) and value == "0":
        return ()
    if min(rounds) < 1:
        raise UserError(f"pacore: '{value}' is none of {', '.join(ROUNDS)}, nor rollouts for each round such as 32,4")
    return rounds
