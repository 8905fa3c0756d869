"""A record of LLaVA, and a folder with its image."""

from collections.abc import Callable
from pathlib import Path

import pytest


def record(**changes: object) -> dict:
    fields: dict = {
        "id": "1",
        "image": "a/1.png",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": "A square."},
            {"from": "human", "value": "Sure?"},
            {"from": "gpt", "value": "<think>\nI look again.\n</think>\nYes."},
        ],
    }
    return {**fields, **changes}


@pytest.fixture(scope="session")
def encoded(encoded_image: Callable[..., bytes]) -> Callable[..., bytes]:
    """encoded(number, format): the bytes of an image, which differ from number to number."""
    return lambda number, format="PNG": encoded_image((number % 256, 40, 90), (8 + number % 5, 8), format)


@pytest.fixture(scope="session")
def llava() -> Callable[..., dict]:
    """llava(**changes): a record of four turns about `a/1.png`, with other fields where a test gives them."""
    return record


@pytest.fixture
def folder(tmp_path: Path, encoded: Callable[..., bytes]) -> Path:
    """A folder of records: the image `a/1.png`, two files that are none, and a file beside the folder."""
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "1.png").write_bytes(encoded(1))
    (tmp_path / "in" / "a" / "text.png").write_bytes(b"<html>not found</html>")
    (tmp_path / "in" / "a" / "truncated.png").write_bytes(encoded(1)[:50])
    (tmp_path / "secret.png").write_bytes(encoded(2))
    return tmp_path / "in"
