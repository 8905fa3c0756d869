"""How objects are called: plurals, articles, Chinese names, and phrases that refer to one."""

from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.grounding.referring import Phrase, Place

ICONS_ZH = {
    "airplane": "飞机", "anchor": "船锚", "apple": "苹果", "bell": "铃铛", "bicycle": "自行车", "bird": "鸟",
    "boat": "船", "book": "书", "camera": "相机", "car": "汽车", "cat": "猫", "cloud": "云", "crown": "皇冠",
    "dog": "狗", "elephant": "大象", "fish": "鱼", "flag": "旗子", "flame": "火焰", "flower": "花",
    "gift": "礼物", "hammer": "锤子", "heart": "心形", "house": "房子", "key": "钥匙", "leaf": "叶子",
    "lock": "锁", "moon": "月亮", "mushroom": "蘑菇", "phone": "手机", "rabbit": "兔子", "rocket": "火箭",
    "snowflake": "雪花", "star": "星星", "sun": "太阳", "sword": "剑", "train": "火车", "tree": "树",
    "trophy": "奖杯", "turtle": "乌龟", "umbrella": "雨伞",
}  # fmt: skip
"""Chinese names of the package's icons."""
COLOURS_ZH = {
    "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "blue": "蓝色", "purple": "紫色",
    "pink": "粉色", "brown": "棕色", "black": "黑色", "white": "白色", "grey": "灰色",
}  # fmt: skip
"""Chinese names of `render.style.COLOURS`."""
LABELS_ZH = ICONS_ZH | {
    "person": "人", "motorcycle": "摩托车", "bus": "公交车", "truck": "卡车", "traffic light": "红绿灯",
    "fire hydrant": "消防栓", "stop sign": "停车标志", "parking meter": "停车计时器", "bench": "长椅",
    "horse": "马", "sheep": "羊", "cow": "牛", "bear": "熊", "zebra": "斑马", "giraffe": "长颈鹿",
    "backpack": "背包", "handbag": "手提包", "tie": "领带", "suitcase": "行李箱", "frisbee": "飞盘",
    "skis": "滑雪板", "snowboard": "单板滑雪板", "sports ball": "球", "kite": "风筝", "baseball bat": "棒球棒",
    "baseball glove": "棒球手套", "skateboard": "滑板", "surfboard": "冲浪板", "tennis racket": "网球拍",
    "bottle": "瓶子", "wine glass": "酒杯", "cup": "杯子", "fork": "叉子", "knife": "刀", "spoon": "勺子",
    "bowl": "碗", "banana": "香蕉", "sandwich": "三明治", "orange": "橙子", "broccoli": "西兰花",
    "carrot": "胡萝卜", "hot dog": "热狗", "pizza": "比萨", "donut": "甜甜圈", "cake": "蛋糕", "chair": "椅子",
    "couch": "沙发", "potted plant": "盆栽", "bed": "床", "dining table": "餐桌", "toilet": "马桶",
    "tv": "电视", "laptop": "笔记本电脑", "mouse": "鼠标", "remote": "遥控器", "keyboard": "键盘",
    "cell phone": "手机", "microwave": "微波炉", "oven": "烤箱", "toaster": "烤面包机", "sink": "水槽",
    "refrigerator": "冰箱", "clock": "时钟", "vase": "花瓶", "scissors": "剪刀", "teddy bear": "泰迪熊",
    "hair drier": "吹风机", "toothbrush": "牙刷", "text": "正文", "title": "标题", "figure": "图",
    "figure caption": "图注", "table": "表格", "table caption": "表注", "header": "页眉", "footer": "页脚",
    "reference": "参考文献", "equation": "公式", "caption": "说明文字", "footnote": "脚注", "formula": "公式",
    "list-item": "列表项", "page-footer": "页脚", "page-header": "页眉", "section-header": "小标题",
    "word": "文字", "text line": "文字行", "cell": "单元格", "country": "国家", "paragraph": "段落",
    "chart title": "图表标题", "axis title": "坐标轴标题", "tick label": "刻度标签", "legend entry": "图例项",
    "value label": "数值标签", "heading": "栏目标题", "item name": "项目名称", "node": "节点",
    "group title": "分组标题", "edge label": "连线标签", "bar": "条形", "table entry": "表格条目",
    "picture": "图片",  # words: DocLayNet's class of figures
}  # fmt: skip
"""Chinese names of COCO's classes, of regions of pages, and of the package's icons; others are quoted in English."""

_IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice", "goose": "geese",
    "foot": "feet", "tooth": "teeth", "knife": "knives", "shelf": "shelves", "sheep": "sheep", "deer": "deer",
    "broccoli": "broccoli", "skis": "skis", "scissors": "scissors", "sunglasses": "sunglasses", "glasses": "glasses",
    "pants": "pants", "shorts": "shorts", "jeans": "jeans", "text": "text blocks", "bus": "buses",
    "leaf": "leaves", "bison": "bison", "shrimp": "shrimp", "mantis": "mantises", "iris": "irises",
    "woodlouse": "woodlice",
}  # fmt: skip
_PLACES: dict[Place, tuple[str, str]] = {
    "leftmost": ("leftmost", "最左边的"),
    "rightmost": ("rightmost", "最右边的"),
    "topmost": ("topmost", "最上面的"),
    "bottommost": ("bottommost", "最下面的"),
    "largest": ("largest", "最大的"),
    "smallest": ("smallest", "最小的"),
}


def plural(label: str) -> str:
    """More than one of a label; the last of several words changes."""
    rest, space, last = label.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("fish"):
        pass  # clownfish, as one and as many
    elif last.endswith("s") and not last.endswith(("ss", "us")) and len(last) > 3:
        pass  # a plural already, as sets of points have them
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last = f"{last}es"
    elif last.endswith("man") and len(last) > 4 and last != "human":
        last = f"{last[:-3]}men"
    elif len(last) > 1 and last.endswith("y") and last[-2] not in "aeiou":
        last = f"{last[:-1]}ies"
    else:
        last = f"{last}s"
    return f"{rest}{space}{last}"


def name(label: str, language: Language) -> str:
    """What one of a label is called, without an article."""
    if language == "en":
        return label
    if label.endswith(" icon"):
        return f"{name(label.removesuffix(' icon'), language)}图标"
    return LABELS_ZH.get(label, f"“{label}”")


def colour_name(colour: str, language: Language) -> str:
    """A colour as questions name it."""
    return COLOURS_ZH.get(colour, colour) if language == "zh" else colour


def say(phrase: Phrase, language: Language) -> str:
    """A phrase in words, with the article in English: `the leftmost red car`."""
    if phrase.written:
        text = phrase.written.strip().rstrip(".")
        return f"“{text}”" if language == "zh" else f'"{text}"'
    return f"{'' if language == 'zh' else 'the '}{describe(phrase, language)}"


def describe(phrase: Phrase, language: Language) -> str:
    """A phrase in words, without an article."""
    zh = language == "zh"
    attributes = dict(phrase.attributes)
    noun = name(phrase.label, language)
    if "colour" in attributes:
        colour = colour_name(attributes["colour"], language)
        noun = f"{colour}的{noun}" if zh else f"{colour} {noun}"
    if "row" in attributes and "column" in attributes:
        row, column = attributes["row"], attributes["column"]
        noun = f"第{row}行第{column}列的{noun}" if zh else f"{noun} in row {row}, column {column}"
    if "text" in attributes:
        noun = f"{noun}“{attributes['text']}”" if zh else f'{noun} that reads "{attributes["text"]}"'
    if "start" in attributes:
        start = attributes["start"]
        noun = f"{noun}（开头是“{start}”）" if zh else f'{noun} that begins with "{start}"'
    if phrase.place:
        word = _PLACES[phrase.place][zh]
        noun = f"{word}{noun}" if zh else f"{word} {noun}"
    if phrase.near:
        anchor = say(phrase.near, language)
        noun = f"离{anchor}最近的{noun}" if zh else f"{noun} nearest to {anchor}"
    if phrase.between:
        first, second = (say(anchor, language) for anchor in phrase.between)
        noun = f"在{first}和{second}之间的{noun}" if zh else f"{noun} between {first} and {second}"
    return noun
