"""How visual questions are worded, in English and Chinese.

A wording is a body (what is asked; `*_phrasings`), a frame around it (what is looked at) and a hint (how to answer),
chosen apart: each kind of question has more than fifty wordings in either language. Bodies do not say what the image
is; frames do.
"""

FRAMES: dict[str, tuple[str, ...]] = {
    "en": (
        "{body}", "{body}", "{body}",
        "According to the {subject}, {body}",
        "Based on the {subject}, {body}",
        "Looking at the {subject}, {body}",
        "Going by the {subject}, {body}",
        "Look at the {subject}. {body}",
        "Judging from the {subject}, {body}",
        "Here is {a_subject}. {body}",
        "From what the {subject} shows, {body}",
        "Please look at the {subject}: {body}",
    ),
    "zh": (
        "{body}", "{body}", "{body}",
        "根据{subject}，{body}",
        "看{subject}回答：{body}",
        "请看{subject}。{body}",
        "从{subject}来看，{body}",
        "请根据{subject}回答：{body}",
        "观察{subject}，{body}",
        "请问，{body}",
        "依据{subject}，{body}",
        "结合{subject}回答：{body}",
    ),
}  # fmt: skip
IMPERATIVE_FRAMES = (
    "{body}", "{body}", "{body}",
    "Look at the {subject}. {body}",
    "Using the {subject}, {body}",
    "Going by the {subject}, {body}",
    "From the {subject}, {body}",
    "Please {body}",
    "Here is {a_subject}. {body}",
    "Read the {subject} and {body}",
)  # fmt: skip
HINTS: dict[str, dict[str, tuple[str, ...]]] = {
    "number": {
        "en": (
            "Give the number only.", "Answer with a number.", "Reply with the number alone.", "Just the number.",
            "A number is enough.",
        ),
        "zh": ("只回答数字。", "请用数字作答。", "给出数字即可。", "直接给出数值。"),
    },
    "count": {
        "en": (
            "Give the number only.", "Answer with a whole number.", "Reply with the count alone.", "Just the number.",
        ),
        "zh": ("只回答数字。", "请用数字作答。", "给出数字即可。", "用阿拉伯数字回答。"),
    },
    "text": {
        "en": ("Answer briefly.", "Give a short answer.", "Reply with that alone.",
               "No explanation is needed."),
        "zh": ("请简要回答。", "直接给出答案。", "不必解释。"),
    },
    "yes_no": {
        "en": ("Answer yes or no.", "Yes or no?", "Reply with yes or no.", "Say yes or no."),
        "zh": ("请回答“是”或“否”。", "是还是否？", "回答是或否。", "只回答“是”或“否”。"),
    },
}  # fmt: skip
NOT_SHOWN = {
    "en": (
        'If it is not shown, answer "not shown".',
        'Answer "not shown" if the image does not tell.',
        'Say "not shown" when it cannot be read off.',
        'If that cannot be told from the image, reply "not shown".',
        'Should the image not say so, answer "not shown".',
    ),
    "zh": (
        "如果图中没有，请回答“图中没有”。",
        "若无法从图中得知，请回答“图中没有”。",
        "图中未给出时回答“图中没有”。",
        "如果看不到，就回答“图中没有”。",
    ),
}
ABSENT = {"en": "not shown", "zh": "图中没有"}
CHOOSE = {
    "en": (
        "Answer with the letter.",  # words: of an option
        "Give the letter of the right option.",  # words: of an option
        "Reply with the option's letter only.",  # words: of an option
        "Which letter is right?",  # words: of an option
        "Choose one and give its letter.",  # words: of an option
    ),
    "zh": ("请回答选项字母。", "只回答字母。", "请选择正确的选项，给出字母。", "用选项的字母作答。"),
}
