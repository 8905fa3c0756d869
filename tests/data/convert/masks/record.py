"""Ask TRL and LLaMA-Factory what they train of the chats beside this file, and write it there as well.

Run it in the environment of the peers: `make peer-masks`. Both have Qwen3's tokenizer and template and their defaults:
TRL 1.16 with `assistant_only_loss`, LLaMA-Factory 0.9.5 with `template: qwen3`, which also reads the records itself.
"""

import json
import os
import sys
import types
from itertools import groupby
from pathlib import Path
from typing import Any

from step3vl.data.tokens.vocabulary import qwen3_tokenizer_file

FOLDER = Path(__file__).parent
IGNORED = -100


def tokenizer() -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_file=str(qwen3_tokenizer_file()), eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


def spans(ids: list[int], mask: list[bool], decoder: Any) -> list[str]:
    """The texts of adjacent tokens that are trained."""
    groups = groupby(zip(ids, mask, strict=True), lambda pair: pair[1])
    return [decoder.decode([id_ for id_, _ in group]) for is_trained, group in groups if is_trained]


def with_trl(chat: dict[str, Any]) -> list[str]:
    import trl.chat_template_utils as templates

    from step3vl.data.convert import FORMATS, RecordDefaults
    from step3vl.data.convert.image_loader import ImageLoader
    from step3vl.data.convert.openai import turns_of
    from step3vl.data.convert.records import SourceRecord

    encoder = tokenizer()
    encoder.chat_template = templates.qwen3_chat_template
    template = templates.get_training_chat_template(encoder)
    # TRL's own format is that of OpenAI; what is compared is not how a record is read but which tokens are trained.
    sample = FORMATS[chat["format"]].to_sample(SourceRecord("", chat["record"]), RecordDefaults(), ImageLoader(None))
    messages = turns_of(sample.messages or (), [])
    for message in messages:
        message["content"] = "".join(part["text"] for part in message["content"] or [])
    encoded = encoder.apply_chat_template(
        messages, tools=list(sample.tools) or None, chat_template=template, return_dict=True,
        return_assistant_tokens_mask=True,
    )  # fmt: skip
    return spans(encoded["input_ids"], list(map(bool, encoded["assistant_masks"])), encoder)


def with_llama_factory(chat: dict[str, Any]) -> list[str]:
    os.environ["DISABLE_VERSION_CHECK"] = "1"  # of transformers, whose newer releases change nothing of this
    import transformers  # noqa: F401  # before the line below, which it would take for a package

    sys.modules["torchaudio"] = types.ModuleType("torchaudio")  # LLaMA-Factory imports it also without audio
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import DatasetAttr
    from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments

    del sys.modules["torchaudio"]
    arguments = DataArguments(template="qwen3", cutoff_len=4096)
    encoder = tokenizer()
    template = get_template_and_fix_tokenizer(encoder, arguments)
    processor = SupervisedDatasetProcessor(template=template, tokenizer=encoder, processor=None, data_args=arguments)
    record = chat["record"]
    attributes = DatasetAttr("file", "chats")
    fields: dict[str, Any] = {"formatting": "sharegpt", "messages": "conversations"}
    if chat["format"] == "alpaca":
        fields = {"formatting": "alpaca", "system": "system" if "system" in record else None}
        fields["history"] = "history" if "history" in record else None
    elif chat["format"] == "openai":
        fields |= {"messages": "messages", "role_tag": "role", "content_tag": "content", "user_tag": "user"}
        fields |= {"assistant_tag": "assistant", "system_tag": "system"}
    else:
        fields |= {name: name if name in record else None for name in ("system", "tools")}
        fields["system_tag"] = "system"
    for name, value in fields.items():
        setattr(attributes, name, value)
    aligned = get_dataset_converter(attributes.formatting, attributes, arguments)(record)
    encoded = processor.preprocess_dataset({name: [value] for name, value in aligned.items()})
    labels = encoded["labels"][0]
    return spans(encoded["input_ids"][0], [label != IGNORED for label in labels], encoder)


def main() -> None:
    chats = json.loads((FOLDER / "chats.json").read_text())
    peers = {"trl": with_trl, "llamafactory": with_llama_factory}
    trained = {peer: {chat["name"]: mask(chat) for chat in chats} for peer, mask in peers.items()}
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "trained.json"
    out.write_text(json.dumps(trained, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
