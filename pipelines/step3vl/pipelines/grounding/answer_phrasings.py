"""Wordings of answers about objects, and of how they are asked for, in English and in Chinese."""

from step3vl.pipelines.core.phrasings import Language

HINTS: dict[str, dict[Language, tuple[str, ...]]] = {
    "json": {
        "en": (
            "Answer as JSON.",
            "Give JSON.",
            "Coordinates run from 0 to 1000.",
            "Reply with JSON alone.",
            "JSON, please.",
        ),
        "zh": ("用 JSON 回答。", "请给出 JSON。", "坐标范围为 0 到 1000。", "只输出 JSON。", "请以 JSON 格式作答。"),
    },
    "fenced": {
        "en": (
            "Put JSON into a code block.",
            "Answer with a JSON code block.",
            "Use a ```json block.",
            "JSON in a code block.",
        ),
        "zh": ("把 JSON 放在代码块里。", "用 JSON 代码块回答。", "使用 ```json 代码块。", "请输出一个 JSON 代码块。"),
    },
    "sentence": {
        "en": ("Answer in a sentence.", "Reply with a full sentence.", "Say it in a sentence.", "A sentence, please."),
        "zh": ("用一句话回答。", "请用完整的句子作答。", "写成一句话。", "请以句子的形式回答。"),
    },
    "number": {
        "en": (
            "Give the number only.",
            "Answer with a whole number.",
            "Just the number.",
            "Reply with the count alone.",
        ),
        "zh": ("只回答数字。", "请用数字作答。", "给出数字即可。", "用阿拉伯数字回答。"),
    },
    "yes_no": {
        "en": ("Answer yes or no.", "Yes or no?", "Reply with yes or no.", "Is it yes or no?"),
        "zh": ("回答是或否。", "请回答“是”或“否”。", "是还是否？", "用“是”或“否”作答。"),
    },
    "choice": {
        "en": ("Answer with one of them.", "Name one of the two.", "Reply with its name.", "Give the one that fits."),
        "zh": ("从中选一个回答。", "说出其中一个。", "回答其名称。", "给出符合的一个。"),
    },
    "name": {
        "en": ("Answer in a word or two.", "Give its name only.", "A noun is enough.", "Name it."),
        "zh": ("只说名称。", "用名称回答。", "给出名称即可。", "说出它的名称。"),
    },
    "words": {
        "en": ("Write the text as it stands.", "Only the text.", "No explanation is needed."),
        "zh": ("按原文写出。", "只写文字。", "不需要解释。"),
    },
    "none": {
        "en": (
            'If there is none, answer "none".',
            'Answer "none" if there is no such thing.',
            'Say "none" where nothing fits.',
            'Reply "none" if nothing of the kind is there.',
            'When there is nothing like it, answer "none".',
        ),
        "zh": (
            "如果没有，请回答“没有”。",
            "若不存在，回答“没有”。",
            "图中没有时请回答“没有”。",
            "没有符合的就回答“没有”。",
            "找不到时回答“没有”。",
        ),
    },
}
"""How an answer is to be given, by its form."""

NONE: dict[Language, str] = {"en": "none", "zh": "没有"}
SENTENCES: dict[str, dict[Language, tuple[str, ...]]] = {
    "place": {
        "en": ("It is at {json}.", "You find it at {json}.", "The answer is {json}.", "Here: {json}."),
        "zh": ("它在 {json}。", "位置是 {json}。", "答案是 {json}。", "在这里：{json}。"),
    },
    "places": {
        "en": ("They are at {json}.", "You find them at {json}.", "The answer is {json}.", "Here: {json}."),
        "zh": ("它们在 {json}。", "位置是 {json}。", "答案是 {json}。", "在这里：{json}。"),
    },
    "number": {
        "en": ("There are {count}.", "I count {count}.", "The number is {count}."),
        "zh": ("一共有 {count} 个。", "数量是 {count}。", "共 {count} 个。"),
    },
    "number_places": {
        "en": ("{count}: {json}", "There are {count}: {json}", "I count {count}: {json}"),
        "zh": ("{count} 个：{json}", "共有 {count} 个：{json}", "数量为 {count}：{json}"),
    },
}
