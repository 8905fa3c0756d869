"""What is trained of a chat here and by TRL and LLaMA-Factory, whose masks lie in `masks/`.

By design three things differ. The peers begin every answer with empty reasoning, which Step3-VL's template writes
after the last question only, and they train its first token, which is part of our generation prompt; they train the
line's end after `<|im_end|>`; and Step3-VL's calls are inside `<tool_calls>`. So spans are compared without markup.
And where earlier answers have reasoning, which our template strips, these answers are trained by the peers alone.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from step3vl.data.convert import RecordDefaults, read_records
from step3vl.data.convert.answers import spans_of
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.sample import Sample

FOLDER = Path(__file__).with_name("masks")
PEERS = Path(__file__).parents[3] / ".venv-peers"
HAS_PEERS = all(any(PEERS.glob(f"lib/*/site-packages/{name}")) for name in ("trl", "llamafactory"))
CHATS = json.loads((FOLDER / "chats.json").read_text(encoding="utf-8"))
TRAINED = json.loads((FOLDER / "trained.json").read_text(encoding="utf-8"))
STRIPPED = "sharegpt, every answer with reasoning"
_SPAN = re.compile(r"(?:<think>)?(?:\n?(.*?)\n</think>\n+)?(.*?)<\|im_end\|>\n?", re.DOTALL)


def without_markup(span: str) -> tuple[str, str]:
    """The reasoning and the answer, calls included, of a trained span, which is one answer with its end."""
    match = _SPAN.fullmatch(span)
    assert match, span
    return (match[1] or "").strip(), re.sub(r"</?tool_calls>", "", match[2]).strip()


@pytest.mark.parametrize("peer", TRAINED)
@pytest.mark.parametrize("chat", CHATS, ids=lambda chat: chat["name"])
def test_the_trained_answers_are_those_of_other_trainers(
    chat: dict[str, Any], peer: str, tmp_path: Path, qwen3: Tokenizer
) -> None:
    (tmp_path / "chat.jsonl").write_text(json.dumps(chat["record"]), encoding="utf-8")
    (sample,) = read_records(tmp_path / "chat.jsonl", chat["format"], RecordDefaults())
    assert isinstance(sample, Sample), sample
    ours = [without_markup(span.text) for span in spans_of(sample, qwen3, ImageSpec()) if span.weight]
    theirs = [without_markup(span) for span in TRAINED[peer][chat["name"]]]
    assert ours == (theirs[1:] if chat["name"] == STRIPPED else theirs)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_PEERS, reason="NOT PROVEN: no TRL and LLaMA-Factory in .venv-peers; run `make peer-masks`")
def test_the_masks_are_what_the_peers_give_today(tmp_path: Path) -> None:
    out = tmp_path / "trained.json"
    subprocess.run(
        [str(PEERS / "bin" / "python"), str(FOLDER / "record.py"), str(out)], check=True, capture_output=True
    )
    assert json.loads(out.read_text(encoding="utf-8")) == TRAINED
