"""Conversations and pictures to model inputs, in the manner of a Hugging Face processor."""

from pathlib import Path
from typing import Any, Self

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, BatchFeature, PreTrainedTokenizerBase, PreTrainedTokenizerFast, ProcessorMixin
from transformers.utils.chat_template_utils import (
    _CONTROL_TOKEN_START,
    _get_control_token_patterns,
    mark_control_tokens,
)

from step3vl.data.crops import ImageSpec
from step3vl.model.image_processing import Step3VLImageProcessor

IMAGE_TOKEN = "<im_patch>"
MAX_LENGTH = 131_072  # the released model_max_length


def chat_template() -> str:
    """The template that our own checkpoints ship; a released one brings its own."""
    return Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


class Step3VLProcessor(ProcessorMixin):
    """Called with `text` that holds one `<im_patch>` for each picture in `images`; each becomes the picture's tokens.

    Returns input_ids and attention_mask (padded on the left) with pixel_values, patch_pixel_values and num_patches.
    With several texts, `images` is one list for each, or one flat list in the order of all. Raises ValueError when
    placeholders and pictures differ in number.

    `apply_chat_template(…, tokenize=True)` keeps the names of special tokens that a message spells as plain text. A
    `text` given here is markup throughout, as in every processor: put what a user wrote through `plain` first.
    """

    def __init__(
        self,
        image_processor: Step3VLImageProcessor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
    ):
        if image_processor is None:
            image_processor = Step3VLImageProcessor()  # the released repository has no file of sizes
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.image_token = IMAGE_TOKEN
        self.image_token_id = self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.tokenizer.padding_side = "left"  # prompts are padded where generation does not look
        backend = self.tokenizer.backend_tokenizer
        if isinstance(backend.post_processor, TemplateProcessing) and not backend.num_special_tokens_to_add(False):
            # The wrapper adds a template that adds nothing, which would change the tokenizer's fingerprint.
            backend.post_processor = None
        if self.tokenizer.chat_control_tokens is None:
            # Text may not write special tokens. `<think>` and its like are not special and stay what they are.
            self.tokenizer.chat_control_tokens = []

    @classmethod
    def build(cls, tokenizer: Tokenizer, spec: ImageSpec) -> Self:
        """A processor around a plain tokenizer, with our own chat template."""
        wrapped = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            eos_token="<|im_end|>",
            pad_token="<|endoftext|>",
            model_max_length=MAX_LENGTH,
            clean_up_tokenization_spaces=False,
        )
        return cls(Step3VLImageProcessor(**spec.model_dump()), wrapped, chat_template=chat_template())

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any
    ) -> list[Any]:
        # The base class asks AutoImageProcessor, which needs a file that the released repository does not have.
        return [
            part.from_pretrained(pretrained_model_name_or_path, **kwargs)
            for part in (Step3VLImageProcessor, AutoTokenizer)
        ]

    @property
    def spec(self) -> ImageSpec:
        return self.image_processor.spec

    @property
    def unused_input_names(self) -> list[str]:
        return ["patch_newline_mask"]  # spent on the prompt; the model has no use for it

    def plain_tokenizer(self) -> Tokenizer:
        """A copy of the tokenizer for `step3vl.data.tokens`, which reads special tokens in a text as plain text."""
        tokenizer = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        return tokenizer

    def plain(self, text: str) -> str:
        """What a user wrote, to be put into a `text`: special tokens that it spells stay plain text.

        They come back between two marks (private-use characters) that `__call__` understands and removes.
        """
        names = tuple(token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special)
        pattern, _ = _get_control_token_patterns(names)
        return mark_control_tokens(text, pattern)

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> BatchFeature:
        """See the class; keywords are those of every processor (padding, return_tensors, …)."""
        texts = [text] if isinstance(text, str) else text or []
        kwargs.setdefault("sanitize_control_tokens", any(_CONTROL_TOKEN_START in one for one in texts))
        return super().__call__(images=images, text=text, **kwargs)

    def validate_inputs(self, images: Any = None, text: Any = None, **kwargs: Any) -> None:
        """The base class counts all placeholders together; two texts could each hold the other's number."""
        super().validate_inputs(images=images, text=text, **kwargs)
        if text is None or not isinstance(images, list) or not all(isinstance(own, list) for own in images):
            return
        placeholders = [one.count(IMAGE_TOKEN) for one in text]
        pictures = [len(own) for own in images]
        if placeholders != pictures:
            raise ValueError(
                f"the texts have {placeholders} {IMAGE_TOKEN} and the lists {pictures} images: give each text its own"
            )

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """The text that one placeholder becomes: each crop in its wrapper, then the global view."""
        counts = image_inputs["num_patches"].tolist()
        start = sum(counts[:image_idx])
        newlines = image_inputs["patch_newline_mask"][start : start + counts[image_idx]].tolist()
        crop = "<patch_start>" + IMAGE_TOKEN * self.spec.crop_tokens + "<patch_end>"
        crops = "".join(crop + "<patch_newline>" * newline for newline in newlines)
        return crops + "<im_start>" + IMAGE_TOKEN * self.spec.image_tokens + "<im_end>"

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """As in the base class; when it tokenizes, special tokens that the text itself spells stay plain text."""
        tokenizes = kwargs.get("tokenize", False) and not kwargs.get("return_assistant_tokens_mask", False)
        kwargs.setdefault("sanitize_control_tokens", tokenizes)
        return super().apply_chat_template(conversation, *args, **kwargs)
