"""The Hugging Face processor: conversations and images to model inputs."""

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

from step3vl.data.sample.crops import ImageSpec
from step3vl.model.image_processing import Step3VLImageProcessor

IMAGE_TOKEN = "<im_patch>"
MAX_LENGTH = 131_072  # the released model_max_length


def chat_template() -> str:
    """The chat template of new checkpoints; a released one keeps its own."""
    return Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


class Step3VLProcessor(ProcessorMixin):
    """Combines the image processor and the tokenizer.

    In `apply_chat_template(…, tokenize=True)` the names of special tokens that a message spells stay plain text. A
    `text` passed to the processor is markup throughout, as in every processor: put user input through `escape` first.

    Args:
        image_processor: By default with the released sizes.
        tokenizer: The tokenizer; it is set to pad on the left.
        chat_template: A Jinja template.
    """

    def __init__(
        self,
        image_processor: Step3VLImageProcessor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
    ):
        if image_processor is None:
            image_processor = Step3VLImageProcessor()  # the released repository has no file with the sizes
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.image_token = IMAGE_TOKEN
        self.image_token_id = self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.tokenizer.padding_side = "left"  # so that every row of a batch of prompts ends with its last token
        backend = self.tokenizer.backend_tokenizer
        if isinstance(backend.post_processor, TemplateProcessing) and not backend.num_special_tokens_to_add(False):
            # The wrapper adds a template without effect, which would change the tokenizer's fingerprint.
            backend.post_processor = None
        if self.tokenizer.chat_control_tokens is None:
            # Text must not produce special tokens. `<think>` and the like are not special and stay as they are.
            self.tokenizer.chat_control_tokens = []

    @classmethod
    def build(cls, tokenizer: Tokenizer, spec: ImageSpec) -> Self:
        """Build a processor with this project's chat template.

        Args:
            tokenizer: A tokenizer of the `tokenizers` library.
            spec: Sizes and limits of images.
        """
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
        return ["patch_newline_mask"]  # used for the prompt; the model does not need it

    def plain_tokenizer(self) -> Tokenizer:
        """A copy of the tokenizer for `step3vl.data.tokens`, which encodes special tokens in a text as plain text."""
        tokenizer = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        return tokenizer

    def escape(self, text: str) -> str:
        """Escape user input for a `text`: special tokens that it spells stay plain text.

        They are put between two marks (private-use characters) that `__call__` understands and removes.
        """
        names = tuple(token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special)
        pattern, _ = _get_control_token_patterns(names)
        return mark_control_tokens(text, pattern)

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> BatchFeature:
        """Prepare prompts.

        Args:
            images: The images of all prompts: one list for each text, or one flat list.
            text: A prompt or several, with one `<im_patch>` for each image; each becomes the tokens of its image.
            **kwargs: As for every processor (`padding`, `return_tensors`, …).

        Returns:
            `input_ids` and `attention_mask` (int64 [B, T], padded on the left), and `pixel_values`,
            `patch_pixel_values` and `num_patches` as the image processor returns them.

        Raises:
            ValueError: When placeholders and images differ in number.
        """
        texts = [text] if isinstance(text, str) else text or []
        kwargs.setdefault("sanitize_control_tokens", any(_CONTROL_TOKEN_START in prompt for prompt in texts))
        return super().__call__(images=images, text=text, **kwargs)

    def validate_inputs(self, images: Any = None, text: Any = None, **kwargs: Any) -> None:
        """Compare the images of each text; the base class only compares the totals."""
        super().validate_inputs(images=images, text=text, **kwargs)
        if text is None or not isinstance(images, list) or not all(isinstance(group, list) for group in images):
            return
        placeholders = [prompt.count(IMAGE_TOKEN) for prompt in text]
        image_counts = [len(group) for group in images]
        if placeholders != image_counts:
            raise ValueError(
                f"the texts have {placeholders} {IMAGE_TOKEN} and {image_counts} images: give each text its own"
            )

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """The text that replaces a placeholder: each crop in its wrapper, then the global view."""
        counts = image_inputs["num_patches"].tolist()
        start = sum(counts[:image_idx])
        newlines = image_inputs["patch_newline_mask"][start : start + counts[image_idx]].tolist()
        crop = "<patch_start>" + IMAGE_TOKEN * self.spec.crop_tokens + "<patch_end>"
        crops = "".join(crop + "<patch_newline>" * newline for newline in newlines)
        return crops + "<im_start>" + IMAGE_TOKEN * self.spec.image_tokens + "<im_end>"

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """As in the base class; when it tokenizes, special tokens that a message spells stay plain text."""
        tokenizes = kwargs.get("tokenize", False) and not kwargs.get("return_assistant_tokens_mask", False)
        kwargs.setdefault("sanitize_control_tokens", tokenizes)
        return super().apply_chat_template(conversation, *args, **kwargs)
