"""How questions about images and their texts are worded, in English and Chinese."""

import random

from step3vl.pipelines.core.phrasings import Language, combine, paragraph
from step3vl.pipelines.sources.pairs.image_text import Role
from step3vl.pipelines.sources.text.words import is_chinese

_DESCRIBE: dict[Language, tuple[str, ...]] = {
    "en": combine(
        "",
        (
            "Describe the image", "Describe this image", "Describe this picture", "Describe what the image shows",
            "Describe what you see", "Caption this image", "Write a caption for this image",
            "Write a caption for the picture", "Give a caption for this image", "Provide a caption for the image",
            "Suggest a caption for this picture", "Say what is shown here", "Say what the image shows",
            "Tell me what this image shows", "Tell me what is in the picture", "Summarise the image",
            "Explain what this image shows", "State what the image shows",
        ),
        (".", " briefly.", " in a few words."),
        (
            "What does the image show?", "What does this image show?", "What is shown in the image?",
            "What can be seen here?", "What is in this picture?", "What is this a picture of?",
            "What do you see in the image?", "What is this image about?", "How would you caption this image?",
            "How would you describe this picture?", "Which caption fits this image?",
            "What would a caption for this image say?",
        ),
    ),
    "zh": combine(
        "",
        (
            "请描述这张图片", "描述一下这张图片", "请描述图中的内容", "请说明图片的内容", "请为这张图片写一段说明",
            "给这张图片配一段文字说明", "请为图片写一个标题", "请说说图里有什么", "请介绍图中所示的内容",
            "请概括这张图片", "请用文字描述这幅图", "请写出这张图片的说明文字", "说说这张图片展示了什么",
            "请讲讲图片中的内容",
        ),
        ("。", "，简短一些。", "，用一两句话。"),
        (
            "这张图片展示了什么？", "图中有什么？", "图片里是什么？", "这幅图的内容是什么？", "从图中能看到什么？",
            "这张图片的说明文字应该怎么写？", "你会怎样描述这张图片？", "这是一张什么图片？",
        ),
    ),
}  # fmt: skip
_PASSAGE: dict[Language, tuple[str, ...]] = {
    "en": combine(
        "",
        ("Write", "Give", "Provide"),
        (
            " the text that goes with this image.", " the passage that this image illustrates.",
            " the paragraph that belongs to this image.", " the text that stands beside this image.",
            " the sentences that this image comes with.",
        ),
        (
            "Which text goes with this image?", "What does the text beside this image say?",
            "What is written about this image?", "Which passage belongs to this image?",
            "What might the text next to this image say?", "What passage does this image illustrate?",
            "What could the paragraph around this image say?", "What text would you expect beside this image?",
        ),
    ),
    "zh": combine(
        "",
        ("请写出", "请给出", "请补全"),
        (
            "这张图片所配的文字。", "与图片对应的段落。", "图片旁边的正文。", "这幅插图所说明的文字。",
        ),
        (
            "这张图片旁边的文字是什么？", "与这张图片相配的文字是什么？", "这张图片说明的是哪段文字？",
            "这幅插图对应的正文是什么？",
        ),
    ),
}  # fmt: skip

_DETAIL: dict[Language, tuple[str, ...]] = {
    "en": combine(
        "",
        (
            "Describe the image", "Describe this image", "Describe what the image shows", "Describe what you see",
            "Say what the image shows", "Tell me what this image shows", "Explain what can be seen here",
            "Write a description of the image", "Give a description of this image", "Go through what the image shows",
        ),
        (
            " in detail.", " for someone who cannot see it.", " as fully as you can.", " in a paragraph.",
            ", with what matters in it.", ", and leave nothing important out.",
        ),
        (
            "What does the image show in detail?", "What can be seen in this image, and where?",
            "How would you describe this image to someone who cannot see it?",
            "What would a full description of this image say?", "What is there to see in the image?",
        ),
    ),
    "zh": combine(
        "",
        (
            "请描述这张图片", "请描述图中的内容", "请说明图片的内容", "请介绍图中所示的内容", "请讲讲图片中的内容",
            "请用一段话描述这幅图", "请为看不见图片的人描述这张图", "请写一段文字描述这张图片", "请说说图里有什么",
            "请把图片的内容讲清楚",
        ),
        ("，尽量详细。", "，不要遗漏重要内容。", "，说明各部分在哪里。", "，越具体越好。", "，要写得完整。"),
        (
            "这张图片具体展示了什么？", "图中都有什么，各在哪里？", "怎样向看不见图片的人描述这张图？",
            "这幅图的详细内容是什么？", "从图中可以看到哪些内容？",
        ),
    ),
}  # fmt: skip
_KNOWLEDGE: dict[Language, tuple[str, ...]] = {
    "en": combine(
        "",
        (
            "The image is about “{keyword}”. ", "Keyword: {keyword}. ", "Topic: {keyword}. ",
            "This image was found for “{keyword}”. ",
        ),
        (
            "What is worth knowing about it?", "What do you know about it?", "Give some background.",
            "Write a passage of background knowledge.", "Explain it to a reader.", "Tell me more about it.",
            "Share what is known about it.", "Write a short text for an encyclopaedia.", "What facts belong to it?",
            "What should a student know about it?", "Write what a reference book would say.",
            "Teach me something about it.",
        ),
        (
            "What can you tell me about “{keyword}”, which this image is about?",
            "Write a paragraph on “{keyword}” to go with this image.",
            "Which background belongs to “{keyword}” in this image?",
        ),
    ),
    "zh": combine(
        "",
        ("这张图与“{keyword}”有关。", "关键词：{keyword}。", "主题：{keyword}。", "这张图是按“{keyword}”找到的。"),
        (
            "有哪些相关知识？", "你知道些什么？", "请写一段背景知识。", "请向读者解释。", "请介绍一下背景。",
            "请多讲一些。", "请说说已知的事实。", "请写一小段百科文字。", "学生应该了解什么？", "请像参考书那样说明。",
            "请科普一下。", "请给出相关的知识。",
        ),
        (
            "关于图中的“{keyword}”，你能说些什么？", "请围绕“{keyword}”为这张图写一段文字。",
            "图中的“{keyword}”有什么背景知识？",
        ),
    ),
}  # fmt: skip

_NAMES: dict[str, tuple[str, str]] = {
    "ar": ("Arabic", "阿拉伯语"), "cs": ("Czech", "捷克语"), "da": ("Danish", "丹麦语"), "de": ("German", "德语"),
    "el": ("Greek", "希腊语"), "es": ("Spanish", "西班牙语"), "fi": ("Finnish", "芬兰语"), "fr": ("French", "法语"),
    "he": ("Hebrew", "希伯来语"), "hi": ("Hindi", "印地语"), "hu": ("Hungarian", "匈牙利语"),
    "id": ("Indonesian", "印度尼西亚语"), "it": ("Italian", "意大利语"), "ja": ("Japanese", "日语"),
    "ko": ("Korean", "韩语"), "nb": ("Norwegian", "挪威语"), "nl": ("Dutch", "荷兰语"), "no": ("Norwegian", "挪威语"),
    "pl": ("Polish", "波兰语"), "pt": ("Portuguese", "葡萄牙语"), "ro": ("Romanian", "罗马尼亚语"),
    "ru": ("Russian", "俄语"), "sv": ("Swedish", "瑞典语"), "th": ("Thai", "泰语"), "tr": ("Turkish", "土耳其语"),
    "uk": ("Ukrainian", "乌克兰语"), "vi": ("Vietnamese", "越南语"),
}  # fmt: skip
_ANSWER_IN: dict[Language, tuple[str, ...]] = {
    "en": (
        "Answer in {name}.",
        "Write in {name}.",
        "Reply in {name}.",
        "Use {name}.",
        "The answer should be in {name}.",
    ),
    "zh": ("请用{name}回答。", "请用{name}写。", "使用{name}。", "答案用{name}。"),
}


def language_of(text: str) -> Language:
    """The language in which a text is asked for: Chinese for Chinese, English for any other."""
    return "zh" if is_chinese(text) else "en"


def has_name(language: str) -> bool:
    """Whether a request can ask for an answer in a language, by its ISO 639-1 code, besides English and Chinese."""
    return language in _NAMES


def caption_request(role: Role, text: str, rng: random.Random, language: str = "") -> str:
    """A question whose answer is a text that came with an image.

    Args:
        role: What the text is to the image; one from above or below need not be a caption.
        text: The answer.
        rng: Picks a wording.
        language: ISO 639-1 code of the text where it is neither English nor Chinese: the question, in one of these,
            then asks for an answer in that language. See `has_name`.
    """
    phrasings = _PASSAGE if role in ("above", "below") else _DESCRIBE
    if not language:
        return rng.choice(phrasings[language_of(text)])
    asked: Language = rng.choice(("en", "zh"))
    name = _NAMES[language][asked == "zh"]
    return paragraph(asked, rng.choice(phrasings[asked]), rng.choice(_ANSWER_IN[asked]).format(name=name))


def description_request(text: str, rng: random.Random) -> str:
    """A question whose answer is a description by a model, which is longer than most captions.

    Args:
        text: The answer.
        rng: Picks a wording.
    """
    return rng.choice(_DETAIL[language_of(text)])


def knowledge_request(keyword: str, language: Language, rng: random.Random) -> str:
    """A question whose answer is a passage of knowledge about what an image shows.

    Args:
        keyword: What the passage is about.
        language: Of the passage.
        rng: Picks a wording.
    """
    return rng.choice(_KNOWLEDGE[language]).format(keyword=keyword)
