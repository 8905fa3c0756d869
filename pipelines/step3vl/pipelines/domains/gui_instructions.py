"""How actions on screens are asked for, in English and Chinese: what to do, and in which form to answer."""

from step3vl.pipelines.core.phrasings import Language, combine

FORMAT: dict[Language, tuple[str, ...]] = {
    "en": (
        'Answer with one action as JSON, such as {"action": "click", "point_2d": [x, y]}, coordinates from 0 to 1000.',
        "Reply with a single action in JSON; coordinates are 0 to 1000 of the screen's width and height.",
        "Give the next action as one JSON object with coordinates between 0 and 1000.",
    ),
    "zh": (
        '用一个 JSON 动作回答，例如 {"action": "click", "point_2d": [x, y]}，坐标范围 0 到 1000。',
        "请以 JSON 给出一个动作，坐标为屏幕宽高的 0 到 1000。",
        "输出一个 JSON 对象表示下一步动作，坐标取 0 到 1000。",
    ),
}

DO: dict[str, dict[Language, tuple[str, ...]]] = {
    "click": {
        "en": combine(
            " ",
            ("Click", "Click on", "Press", "Select", "Please click", "Tap"),
            ("{phrase}.", "{phrase} now.", "{phrase} in this interface.", "on {phrase}.")[:3],
        ),
        "zh": combine(
            "",
            ("点击", "单击", "请点击", "请单击", "按下", "选择"),
            ("{phrase}。", "屏幕上的{phrase}。", "界面中的{phrase}。"),
        ),
    },
    "double_click": {
        "en": combine(
            " ",
            ("Double-click", "Double-click on", "Open by a double click", "Please double-click"),
            ("{phrase}.", "{phrase} now.", "{phrase} in this interface."),
        ),
        "zh": combine(
            "", ("双击", "请双击", "用双击打开"), ("{phrase}。", "屏幕上的{phrase}。", "界面中的{phrase}。")
        ),
    },
    "type": {
        "en": combine(
            " ",
            ("Type {text} into", "Enter {text} in", "Write {text} in", "Fill {text} into", "Put {text} into"),
            ("{phrase}.", "{phrase} in this interface.", "{phrase}, please."),
        ),
        "zh": combine(
            "",
            ("在{phrase}中", "请在{phrase}里", "向{phrase}"),
            ("输入{text}。", "填入{text}。", "键入{text}。", "写入{text}。"),
        ),
    },
    "slide": {
        "en": combine(
            " ",
            ("Drag", "Slide", "Move"),
            ("{phrase} to {text}.", "the handle of {phrase} to {text}.", "{phrase} until it is at {text}."),
        ),
        "zh": combine(
            "", ("把{phrase}", "将{phrase}", "请将{phrase}"), ("拖到 {text}。", "滑动到 {text}。", "调到 {text}。")
        ),
    },
    "hot_key": {
        "en": ("Press the key {text}.", "Use the key {text}.", "Hit {text} on the keyboard.", "Press {text}."),
        "zh": ("按 {text} 键。", "按下键盘上的 {text}。", "使用 {text} 键。", "请按 {text}。"),
    },
    "scroll_down": {
        "en": (
            "Scroll down.",
            "Show what is further down.",
            "Scroll the page down.",
            "Go further down the page.",
            "See what comes below.",
        ),
        "zh": ("向下滚动。", "显示下方的内容。", "把页面向下滚动。", "查看更下面的内容。", "往下翻。"),
    },
    "scroll_up": {
        "en": (
            "Scroll up.",
            "Show what is further up.",
            "Scroll the page up.",
            "Go back up the page.",
            "See what comes above.",
        ),
        "zh": ("向上滚动。", "显示上方的内容。", "把页面向上滚动。", "查看上面的内容。", "往上翻。"),
    },
}
"""Instructions for single actions."""
