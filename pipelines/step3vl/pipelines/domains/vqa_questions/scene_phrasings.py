"""Wordings of questions about scenes of icons, see `frames`."""

SCENE_BODIES: dict[str, dict[str, tuple[str, ...]]] = {
    "colour": {
        "en": (
            "What colour is the {icon}?",
            "Which colour does the {icon} have?",
            "Of what colour is the {icon}?",
            "What is the colour of the {icon}?",
            "Name the colour of the {icon}.",
            "Say which colour the {icon} has.",
        ),
        "zh": (
            "{icon}是什么颜色？",
            "{icon}的颜色是什么？",
            "{icon}是哪种颜色的？",
            "说出{icon}的颜色。",
            "{icon}画成了什么颜色？",
        ),
    },
    "absent_object": {
        "en": (
            "What colour is the {icon}?",
            "Which colour does the {icon} have?",
            "Of what colour is the {icon}?",
            "What is the colour of the {icon}?",
            "Name the colour of the {icon}.",
        ),
        "zh": (
            "{icon}是什么颜色？",
            "{icon}的颜色是什么？",
            "{icon}是哪种颜色的？",
            "说出{icon}的颜色。",
            "{icon}画成了什么颜色？",
        ),
    },
    "icon_count": {
        "en": (
            "How many {icons} are there?",
            "How many {icons} can be seen?",
            "How many {icons} can you find?",
            "What is the number of {icons}?",
            "Count the {icons}.",
            "Find all {icons} and count them.",
        ),
        "zh": (
            "有几个{icon}？",
            "一共有多少个{icon}？",
            "能看到几个{icon}？",
            "{icon}的数量是多少？",
            "数一数有几个{icon}。",
        ),
    },
    "coloured_count": {
        "en": (
            "How many {colour} icons are there?",
            "How many icons are {colour}?",
            "How many of the icons have the colour {colour}?",
            "What is the number of {colour} icons?",
            "Count the {colour} icons.",
            "Count all icons that are {colour}.",
        ),
        "zh": (
            "有几个{colour}的图标？",
            "{colour}的图标一共有多少个？",
            "{colour}图标的数量是多少？",
            "数一数{colour}的图标。",
            "能看到几个{colour}的图标？",
        ),
    },
    "all_count": {
        "en": (
            "How many icons are there in all?",
            "How many icons are there altogether?",
            "What is the total number of icons?",
            "How many icons can be seen?",
            "Count all icons.",
            "Count every icon, whatever it is.",
        ),
        "zh": (
            "一共有多少个图标？",
            "图标总数是多少？",
            "总共能看到几个图标？",
            "数一数一共有几个图标。",
            "图标合计有多少个？",
        ),
    },
    "leftmost": {
        "en": (
            "Which icon is furthest to the left?",
            "What is the leftmost icon?",
            "Which icon stands furthest left?",
            "What do you see furthest to the left?",
            "Name the icon on the far left.",
            "Find the leftmost icon.",
        ),
        "zh": (
            "最左边的图标是什么？",
            "哪个图标在最左边？",
            "最靠左的图标是什么？",
            "说出最左侧的图标。",
            "找出最左边的图标。",
        ),
    },
    "rightmost": {
        "en": (
            "Which icon is furthest to the right?",
            "What is the rightmost icon?",
            "Which icon stands furthest right?",
            "What do you see furthest to the right?",
            "Name the icon on the far right.",
            "Find the rightmost icon.",
        ),
        "zh": (
            "最右边的图标是什么？",
            "哪个图标在最右边？",
            "最靠右的图标是什么？",
            "说出最右侧的图标。",
            "找出最右边的图标。",
        ),
    },
    "topmost": {
        "en": (
            "Which icon is furthest up?",
            "What is the topmost icon?",
            "Which icon is the highest one?",
            "What do you see at the very top?",
            "Name the uppermost icon.",
            "Find the icon that is highest up.",
        ),
        "zh": (
            "最上面的图标是什么？",
            "哪个图标在最上方？",
            "最靠上的图标是什么？",
            "说出最上面的图标。",
            "找出位置最高的图标。",
        ),
    },
    "bottommost": {
        "en": (
            "Which icon is furthest down?",
            "What is the bottommost icon?",
            "Which icon is the lowest one?",
            "What do you see at the very bottom?",
            "Name the lowest icon.",
            "Find the icon that is furthest down.",
        ),
        "zh": (
            "最下面的图标是什么？",
            "哪个图标在最下方？",
            "最靠下的图标是什么？",
            "说出最下面的图标。",
            "找出位置最低的图标。",
        ),
    },
    "is_left": {
        "en": (
            "Is the {first} to the left of the {second}?",
            "Is the {first} further left than the {second}?",
            "Does the {first} lie left of the {second}?",
            "Is the {second} to the right of the {first}?",
            "Do you find the {first} on the left of the {second}?",
        ),
        "zh": (
            "{first}在{second}的左边吗？",
            "{first}位于{second}的左侧吗？",
            "{first}比{second}更靠左吗？",
            "{second}在{first}的右边吗？",
            "{first}是否在{second}左边？",
        ),
    },
    "is_above": {
        "en": (
            "Is the {first} above the {second}?",
            "Is the {first} higher up than the {second}?",
            "Does the {first} lie above the {second}?",
            "Is the {second} below the {first}?",
            "Do you find the {first} further up than the {second}?",
        ),
        "zh": (
            "{first}在{second}的上方吗？",
            "{first}位于{second}的上面吗？",
            "{first}比{second}更靠上吗？",
            "{second}在{first}的下方吗？",
            "{first}是否在{second}上面？",
        ),
    },
    "direction": {
        "en": (
            "In which direction from the {second} is the {first}: {choices}?",
            "Where is the {first} as seen from the {second}: {choices}?",
            "Compared with the {second}, where is the {first}: {choices}?",
            "Say where the {first} is from the {second}: {choices}.",
            "On which side of the {second} is the {first}: {choices}?",
        ),
        "zh": (
            "{first}在{second}的哪个方向：{choices}？",
            "从{second}来看，{first}在哪个方向：{choices}？",
            "{first}位于{second}的哪一边：{choices}？",
            "相对于{second}，{first}在哪一侧：{choices}？",
        ),
    },
    "larger": {
        "en": (
            "Which is larger, the {first} or the {second}?",
            "Which covers more room, the {first} or the {second}?",
            "Which of the two is bigger: the {first} or the {second}?",
            "Is the {first} or the {second} the larger one?",
            "Compare the {first} with the {second}: name the larger one.",
        ),
        "zh": (
            "{first}和{second}哪个更大？",
            "{first}与{second}相比，哪个更大？",
            "更大的是{first}还是{second}？",
            "{first}和{second}中较大的是哪个？",
            "比较{first}和{second}，说出较大的一个。",
        ),
    },
    "same_colour": {
        "en": (
            "Do the {first} and the {second} have the same colour?",
            "Are the {first} and the {second} of one colour?",
            "Is the {first} of the same colour as the {second}?",
            "Does the {first} share its colour with the {second}?",
            "Is one colour shared by the {first} and the {second}?",
        ),
        "zh": (
            "{first}和{second}颜色相同吗？",
            "{first}与{second}是同一种颜色吗？",
            "{first}的颜色和{second}一样吗？",
            "{first}和{second}的颜色是否一致？",
            "{first}、{second}两者同色吗？",
        ),
    },
    "exists": {
        "en": (
            "Is there {a_coloured}?",
            "Can you see {a_coloured}?",
            "Does it show {a_coloured}?",
            "Is {a_coloured} among the icons?",
            "Do you find {a_coloured}?",
        ),
        "zh": (
            "有{colour}的{icon}吗？",
            "能看到{colour}的{icon}吗？",
            "图标中有没有{colour}的{icon}？",
            "是否有{colour}的{icon}？",
            "其中有{colour}的{icon}吗？",
        ),
    },
    "more": {
        "en": (
            "Are there more {first} than {second}?",
            "Do the {first} outnumber the {second}?",
            "Is the number of {first} greater than that of {second}?",
            "Can you see more {first} than {second}?",
            "Are the {first} more numerous than the {second}?",
        ),
        "zh": (
            "{first}比{second}多吗？",
            "{first}的数量多于{second}吗？",
            "{first}的个数是否超过{second}？",
            "看到的{first}比{second}多吗？",
            "{first}是不是比{second}多？",
        ),
    },
}
ICONS_ZH = {
    "airplane": "飞机", "anchor": "船锚", "apple": "苹果", "bell": "铃铛", "bicycle": "自行车", "bird": "鸟",
    "boat": "船", "book": "书", "camera": "相机", "car": "汽车", "cat": "猫", "cloud": "云", "crown": "皇冠",
    "dog": "狗", "elephant": "大象", "fish": "鱼", "flag": "旗子", "flame": "火焰", "flower": "花",
    "gift": "礼物", "hammer": "锤子", "heart": "心形", "house": "房子", "key": "钥匙", "leaf": "叶子",
    "lock": "锁", "moon": "月亮", "mushroom": "蘑菇", "phone": "手机", "rabbit": "兔子", "rocket": "火箭",
    "snowflake": "雪花", "star": "星星", "sun": "太阳", "sword": "剑", "train": "火车", "tree": "树",
    "trophy": "奖杯", "turtle": "乌龟", "umbrella": "雨伞",
}  # fmt: skip
COLOURS_ZH = {
    "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "blue": "蓝色", "purple": "紫色",
    "pink": "粉色", "brown": "棕色", "black": "黑色", "white": "白色", "grey": "灰色",
}  # fmt: skip
