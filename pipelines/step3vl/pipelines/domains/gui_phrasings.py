"""How questions about screens are worded, in English and Chinese."""

import random
from typing import Any

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

_TEMPLATES: dict[str, dict[Language, tuple[str, ...]]] = {
    "point": {
        "en": combine(
            " ",
            ("Point to", "Point at", "Find", "Locate", "Give a point on", "Mark", "Show me", "Indicate"),
            (
                "{phrase} on this screen.",
                "{phrase}.",
                "{phrase} in the screenshot.",
                "{phrase} with one point.",
                "{phrase}; answer with a point.",
                "{phrase} on the page.",
            ),
            (
                "Where is {phrase}? Give a point.",
                "At which point is {phrase}?",
                "Which point lies on {phrase}?",
                "Give the coordinates of {phrase}.",
                "{phrase}: where is it? One point, please.",
                "I want to click {phrase}. Where?",
                "Tell me a point inside {phrase}.",
            ),
        ),
        "zh": combine(
            "",
            ("指出", "请指出", "找到", "请找到", "定位", "标出", "请标出", "用一个点标出"),
            (
                "{phrase}。",
                "屏幕上的{phrase}。",
                "截图中的{phrase}。",
                "{phrase}的位置。",
                "界面中{phrase}的点坐标。",
                "{phrase}，用一个点回答。",
            ),
            (
                "{phrase}在哪里？请给出一个点。",
                "点击哪里可以点到{phrase}？",
                "{phrase}的坐标是多少？",
                "给出{phrase}上的一个点。",
                "我要点击{phrase}，应点哪里？",
            ),
        ),
    },
    "box": {
        "en": combine(
            " ",
            ("Give", "Return", "Find", "Output", "Mark", "Provide", "Show"),
            (
                "the bounding box of {phrase}.",
                "the box of {phrase}.",
                "the box around {phrase}.",
                "the region of {phrase} on this screen.",
                "the area that {phrase} takes.",
                "the box that encloses {phrase} in the screenshot.",
                "the frame of {phrase}, as a box.",
            ),
            (
                "Locate {phrase} with a bounding box.",
                "Which box encloses {phrase}?",
                "Detect {phrase}.",
                "What is the bounding box of {phrase}?",
                "Frame {phrase}.",
                "Where is {phrase}? Answer with a box.",
            ),
        ),
        "zh": combine(
            "",
            ("给出", "请给出", "输出", "标出", "请标出", "框出", "请框出"),
            (
                "{phrase}的边界框。",
                "{phrase}的位置框。",
                "屏幕上{phrase}的边界框。",
                "{phrase}所在的区域框。",
                "截图中{phrase}的框。",
                "包围{phrase}的框。",
                "{phrase}占据的区域，用框表示。",
            ),
            ("用边界框定位{phrase}。", "{phrase}在哪里？用框回答。", "{phrase}的边界框是什么？", "检测{phrase}。"),
        ),
    },
    "all": {
        "en": combine(
            " ",
            ("Give", "Return", "Find", "Mark", "List", "Detect", "Output"),
            (
                "the boxes of all {plural} on this screen.",
                "every one of the {plural} with a box.",
                "all {plural} as boxes.",
                "a box for each of the {plural}.",
                "the bounding boxes of all {plural}.",
                "all the {plural} in the screenshot, with their boxes.",
                "each of the {plural}: one box for each.",
            ),
            (
                "Where are the {plural}? Answer with boxes.",
                "Locate all {plural} with bounding boxes.",
                "Which boxes hold the {plural}?",
            ),
        ),
        "zh": combine(
            "",
            ("给出", "请给出", "标出", "请标出", "框出", "列出", "检测"),
            (
                "屏幕上所有{plural}的边界框。",
                "全部{plural}的框。",
                "每个{plural}的边界框。",
                "截图中所有{plural}，每个一个框。",
                "界面里全部{plural}的位置框。",
                "所有{plural}。",
                "每一个{plural}，用框表示。",
            ),
            ("所有{plural}在哪里？用框回答。", "用边界框定位所有{plural}。", "哪些框里是{plural}？"),
        ),
    },
    "exists": {
        "en": combine(
            " ",
            (
                "Is there",
                "Can you see",
                "Does this screen show",
                "Does the page have",
                "Do you find",
                "Does the screenshot contain",
            ),
            (
                "a {role} named {name}?",
                "a {role} called {name}?",
                "a {role} {name}?",
                "a {role} with the name {name}?",
                "a {role} {name} here?",
                "a {role} named {name}? Yes or no.",
                "a {role} {name}? Answer yes or no.",
                "a visible {role} {name}?",
            ),
            ("Yes or no: there is a {role} {name} on this screen.", "Is a {role} named {name} on the screen?"),
        ),
        "zh": combine(
            "",
            ("屏幕上", "界面中", "这张截图里", "当前页面", "画面中", "这里"),
            (
                "有名为{name}的{role}吗？",
                "有没有{role}{name}？",
                "是否有{role}{name}？",
                "能看到{role}{name}吗？",
                "存在名为{name}的{role}吗？",
                "是否存在{role}{name}？请回答是或否。",
                "有{role}{name}吗？回答是或否。",
                "可以找到名为{name}的{role}吗？",
            ),
            ("是或否：屏幕上有{role}{name}。", "这个界面有{role}{name}吗？"),
        ),
    },
    "name": {
        "en": combine(
            " ",
            ("What is", "What do you call", "Which of the options names", "What is the purpose of", "Which name fits"),
            (
                "the element in the box {box}?",
                "the {role} in {box}?",
                "the element at {box}?",
                "the {role} that {box} encloses?",
                "the element that fills {box}?",
                "the control in the region {box}?",
                "the part in {box}?",
                "the {role} at {box}?",
                "the element inside {box} on this screen?",
                "the control marked by {box}?",
            ),
        ),
        "zh": combine(
            "",
            (
                "框 {box} 中的{role}",
                "区域 {box} 里的元素",
                "{box} 处的控件",
                "边界框 {box} 中的元素",
                "{box} 内的{role}",
                "位于 {box} 的{role}",
                "{box} 标出的控件",
            ),
            (
                "是什么？",
                "叫什么？",
                "有什么用途？",
                "对应哪个选项？",
                "的名称是哪一个？",
                "是下面哪一个？",
                "做什么用？",
                "应选哪个名称？",
            ),
        ),
    },
    "effect": {
        "en": combine(
            " ",
            ("What happens", "What will happen", "What does the page do", "What follows", "What is the effect"),
            (
                "when {phrase} is clicked?",
                "after a click on {phrase}?",
                "if one clicks {phrase}?",
                "once you click {phrase}?",
                "when the user clicks {phrase}?",
                "if I click {phrase} now?",
                "upon a click on {phrase}?",
                "when somebody presses {phrase}?",
                "after {phrase} has been clicked?",
                "when you click on {phrase} here?",
            ),
        ),
        "zh": combine(
            "",
            (
                "点击{phrase}",
                "单击{phrase}",
                "在此界面点击{phrase}",
                "如果点击{phrase}，",
                "用户点击{phrase}之后",
                "按下{phrase}",
                "现在点击{phrase}",
            ),
            (
                "会发生什么？",
                "会有什么效果？",
                "界面会怎样？",
                "结果是什么？",
                "会出现什么？",
                "会引起什么变化？",
                "之后会怎样？",
                "页面会怎样变化？",
            ),
        ),
    },
    "happened": {
        "en": combine(
            " ",
            (
                "The two screens are before and after one action.",
                "The second screenshot was taken after one action on the first.",
                "First the screen before an action, then the screen after it.",
                "Compare the two screens.",
                "One action leads from the first screen to the second.",
            ),
            (
                "Which action was it?",
                "What was done?",
                "Which of these actions was performed?",
                "What did the user do?",
                "Which action explains the change?",
                "What action came between them?",
                "Which step was taken?",
                "Choose the action that was performed.",
                "What leads from one to the other?",
                "Which one of the actions is it?",
            ),
        ),
        "zh": combine(
            "",
            (
                "两张图是一次操作前后的界面。",
                "第二张截图是在第一张上执行一次操作后得到的。",
                "先是操作前的界面，后是操作后的界面。",
                "比较这两个界面。",
                "一次操作从第一个界面到第二个界面。",
                "前后两张截图之间只有一步操作。",
                "观察操作前后的两张截图。",
            ),
            (
                "执行了哪个操作？",
                "做了什么？",
                "是下面哪个操作？",
                "用户做了什么？",
                "哪个操作能解释这一变化？",
                "中间是什么操作？",
                "是哪一步？",
                "请选出所执行的操作。",
            ),
        ),
    },
    "state": {
        "en": combine(
            " ",
            ("Is", "On this screen, is", "Can you tell whether", "Look at the screen: is", "In the screenshot, is"),
            (
                "{phrase} on or off?",
                "{phrase} on or off here?",
                "{phrase} currently on or off?",
                "{phrase} set to on or off?",
                "{phrase} switched on or off?",
                "{phrase} on, or off?",
                "{phrase} now on or off?",
                "{phrase} in the state on or off?",
                "{phrase} shown as on or off?",
                "{phrase} at the moment on or off?",
            ),
        ),
        "zh": combine(
            "",
            (
                "{phrase}",
                "屏幕上{phrase}",
                "截图中{phrase}",
                "现在{phrase}",
                "界面中{phrase}",
                "当前{phrase}",
                "请看：{phrase}",
            ),
            (
                "是打开还是关闭？",
                "处于打开还是关闭状态？",
                "是开还是关？",
                "的状态是什么：打开还是关闭？",
                "当前是打开的还是关闭的？",
                "打开了还是关闭了？",
                "是打开的，还是关闭的？",
                "显示为打开还是关闭？",
            ),
        ),
    },
    "value": {
        "en": combine(
            " ",
            ("What", "On this screen, what", "Read the screen: what", "In the screenshot, what", "Tell me what"),
            (
                "does {phrase} contain?",
                "is entered in {phrase}?",
                "stands in {phrase}?",
                "is the content of {phrase}?",
                "is the value of {phrase}?",
                "is typed into {phrase}?",
                "has been filled into {phrase}?",
                "is written in {phrase}?",
                "text is in {phrase}?",
                "does {phrase} hold?",
            ),
        ),
        "zh": combine(
            "",
            (
                "{phrase}",
                "屏幕上{phrase}",
                "截图中{phrase}",
                "界面中{phrase}",
                "当前{phrase}",
                "请看：{phrase}",
                "现在{phrase}",
            ),
            (
                "里填了什么？",
                "的内容是什么？",
                "中输入了什么？",
                "的值是什么？",
                "里写着什么？",
                "中的文字是什么？",
                "包含什么内容？",
                "里是什么？",
            ),
        ),
    },
    "caption": {
        "en": combine(
            " ",
            ("Describe", "Summarise", "Explain", "Outline", "Write a description of", "Give an overview of"),
            (
                "this screen.",
                "the screenshot.",
                "this user interface.",
                "the page that is shown.",
                "the layout of this page.",
                "what this screen shows and what can be done here.",
                "the parts of this screen.",
                "this page part by part.",
            ),
            (
                "What does this screen show?",
                "What can be seen and done on this page?",
                "Which parts does this page have?",
            ),
        ),
        "zh": combine(
            "",
            ("描述", "请描述", "概括", "说明", "请说明", "介绍"),
            (
                "这个界面。",
                "这张截图。",
                "当前页面。",
                "页面的布局。",
                "屏幕上的内容和可用的操作。",
                "界面的各个部分。",
                "这个页面的组成。",
                "屏幕显示的内容。",
            ),
            ("这个界面显示了什么？", "这个页面由哪些部分组成？", "在这个页面上能看到什么、能做什么？"),
        ),
    },
    "text": {
        "en": combine(
            " ",
            ("Read", "Transcribe", "Write out", "Copy", "Write down", "Give"),
            (
                "the text in the box {box}.",
                "the text at {box}.",
                "what is written in {box}.",
                "the words in the region {box}.",
                "the text that {box} encloses.",
                "the line of text in {box}.",
                "what the screen says in {box}.",
                "the writing in {box}.",
            ),
            ("Which text stands in {box}?", "What does it say in {box}?"),
        ),
        "zh": combine(
            "",
            ("读出", "请读出", "转写", "写出", "识别", "请写出"),
            (
                "框 {box} 中的文字。",
                "{box} 处的文字。",
                "区域 {box} 里的文字。",
                "{box} 内写的内容。",
                "边界框 {box} 内的文字。",
                "屏幕上 {box} 处的文字。",
                "{box} 所围的文字。",
                "位于 {box} 的一行文字。",
            ),
            ("{box} 里写着什么？", "框 {box} 中是什么文字？"),
        ),
    },
    "place": {
        "en": combine(
            " ",
            ("Give", "Find", "Return", "Mark", "Output", "Provide"),
            (
                "the box of the text {name}.",
                "the bounding box of the words {name}.",
                "the place of the text {name} as a box.",
                "the box in which {name} is written.",
                "the region of the text {name}.",
                "the part of the screen that says {name}, as a box.",
                "the line of text {name} with a box.",
                "the box around the text {name}.",
            ),
            ("Where is the text {name}? Answer with a box.", "Locate the text {name} with a bounding box."),
        ),
        "zh": combine(
            "",
            ("给出", "请给出", "标出", "请标出", "框出", "找出"),
            (
                "文字{name}的边界框。",
                "{name}这段文字的位置框。",
                "写着{name}的区域。",
                "屏幕上文字{name}的框。",
                "文字{name}所在的框。",
                "截图中{name}文字的边界框。",
                "包围文字{name}的框。",
                "文字{name}的区域框。",
            ),
            ("文字{name}在哪里？用框回答。", "用边界框定位文字{name}。"),
        ),
    },
    "region": {
        "en": combine(
            " ",
            ("Read", "Transcribe", "Write out", "Copy", "Give", "List"),
            (
                "all text in the box {box}, one line each.",
                "every line of text in {box}.",
                "all the text in the region {box}.",
                "the complete text of the area {box}.",
                "all lines within {box}, from top to bottom.",
                "what is written in {box}, line by line.",
                "the text of the part of the screen in {box}.",
                "the text inside {box}, line by line.",
            ),
            ("What does the part of the screen in {box} say?", "Which lines of text stand in {box}?"),
        ),
        "zh": combine(
            "",
            ("读出", "请读出", "转写", "写出", "逐行写出", "请转写"),
            (
                "框 {box} 中的全部文字。",
                "区域 {box} 内的所有文字。",
                "{box} 内的全部文字，每行一条。",
                "屏幕 {box} 部分的文字。",
                "{box} 中所有文字行。",
                "边界框 {box} 内的全部内容。",
                "{box} 区域的完整文字。",
                "{box} 中从上到下的文字。",
            ),
            ("屏幕的 {box} 部分写着什么？", "{box} 中有哪些文字行？"),
        ),
    },
    "next": {
        "en": combine(
            " ",
            ("Task: {goal}", "Your task: {goal}", "Goal: {goal}", "The user asks: {goal}", "Instruction: {goal}"),
            (
                "What do you do next? {history}",
                "Choose the next action. {history}",
                "What is the next step? {history}",
                "{history} What now?",
                "{history} Which action comes next?",
                "{history} Continue with one action.",
                "{history} Decide on the next action.",
                "{history} Do the next step.",
                "{history} Act.",
                "{history} Next action?",
            ),
        ),
        "zh": combine(
            "",
            ("任务：{goal}", "你的任务：{goal}", "目标：{goal}", "用户要求：{goal}", "指令：{goal}"),
            (
                "下一步做什么？{history}",
                "选择下一个动作。{history}",
                "下一步是什么？{history}",
                "{history}现在做什么？",
                "{history}接下来是哪个动作？",
                "{history}继续执行一个动作。",
                "{history}决定下一个动作。",
                "{history}执行下一步。",
                "{history}请操作。",
                "{history}下一个动作？",
            ),
        ),
    },
    "trajectory": {
        "en": combine(
            " ",
            (
                "You operate this page by actions in JSON.",
                "Use the page to do a task, one action at a time.",
                "You are an agent that acts on this screen.",
                "Operate the page step by step.",
                "Act on the screen until the task is done.",
            ),
            (
                "{goal}",
                "Task: {goal}",
                "Goal: {goal}",
                "Please do this: {goal}",
                "The user says: {goal}",
                "Your task: {goal}",
                "To do: {goal}",
                "What is wanted: {goal}",
                "Instruction: {goal}",
                "Request: {goal}",
            ),
        ),
        "zh": combine(
            "",
            (
                "你通过 JSON 动作操作这个页面。",
                "使用页面完成任务，每次一个动作。",
                "你是操作该界面的智能体。",
                "逐步操作页面。",
                "在界面上操作直到任务完成。",
            ),
            (
                "{goal}",
                "任务：{goal}",
                "目标：{goal}",
                "请完成：{goal}",
                "用户说：{goal}",
                "你的任务：{goal}",
                "要做的事：{goal}",
                "需要：{goal}",
                "指令：{goal}",
                "请求：{goal}",
            ),
        ),
    },
}

DO: dict[str, dict[Language, tuple[str, ...]]] = {
    "click": {
        "en": combine(
            " ",
            ("Click", "Click on", "Press", "Select", "Please click", "Tap"),
            ("{phrase}.", "{phrase} now.", "{phrase} on this page.", "on {phrase}.")[:3],
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
            ("{phrase}.", "{phrase} now.", "{phrase} on this page."),
        ),
        "zh": combine(
            "", ("双击", "请双击", "用双击打开"), ("{phrase}。", "屏幕上的{phrase}。", "界面中的{phrase}。")
        ),
    },
    "type": {
        "en": combine(
            " ",
            ("Type {text} into", "Enter {text} in", "Write {text} in", "Fill {text} into", "Put {text} into"),
            ("{phrase}.", "{phrase} on this page.", "{phrase}, please."),
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


def phrasings(asked: str, language: Language) -> tuple[str, ...]:
    """The templates of a kind of question."""
    return _TEMPLATES[asked][language]


def ask(asked: str, language: Language, rng: random.Random, **fields: Any) -> str:
    """A question of a kind, with its fields filled in."""
    text = rng.choice(phrasings(asked, language)).format(**fields).strip()
    return text[0].upper() + text[1:]
