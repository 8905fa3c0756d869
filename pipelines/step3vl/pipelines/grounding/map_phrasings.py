"""Wordings of questions about the regions of a map: more than fifty a kind, in English and in Chinese."""

from itertools import product

from step3vl.pipelines.core.phrasings import Language, combine

_OPENINGS: dict[Language, tuple[str, ...]] = {
    "en": (
        "",
        "On this map: ",
        "According to the map: ",
        "Look at the map. ",
        "From the map: ",
        "Study the map. ",
        "See the map. ",
    ),
    "zh": ("", "在这张地图上，", "根据地图，", "看这张地图，", "从地图上看，", "观察地图，", "请看地图，"),
}


def _opened(language: Language, bodies: tuple[str, ...]) -> tuple[str, ...]:
    """Every opening with every body; English bodies begin small, and large after a full stop."""
    return tuple(
        opening + (body[:1].upper() + body[1:] if opening.endswith(". ") else body)
        for opening, body in product(_OPENINGS[language], bodies)
    )


MAP_BODIES: dict[str, dict[Language, tuple[str, ...]]] = {
    "region_name": {
        "en": _opened(
            "en",
            (
                "what is the name of {name}?",
                "what is {name} called?",
                "name {name}.",
                "give the name of {name}.",
                "which name does {name} have?",
                "how is {name} called?",
                "write the name of {name}.",
                "tell me the name of {name}.",
            ),
        ),
        "zh": _opened(
            "zh",
            (
                "{name}叫什么名字？",
                "{name}的名称是什么？",
                "写出{name}的名称。",
                "说出{name}的名字。",
                "{name}是哪里？",
                "给出{name}的名称。",
                "{name}叫什么？",
                "请说明{name}的名称。",
            ),
        ),
    },
    "borders": {
        "en": _opened(
            "en",
            (
                "how many regions border {name}?",
                "how many regions does {name} touch?",
                "how many neighbours does {name} have?",
                "count the regions that border {name}.",
                "with how many regions does {name} share a border?",
                "count the neighbours of {name}.",
                "how many regions are next to {name}?",
                "how many regions adjoin {name}?",
            ),
        ),
        "zh": _opened(
            "zh",
            (
                "与{name}接壤的地区有多少个？",
                "{name}和多少个地区相邻？",
                "{name}有几个相邻的地区？",
                "数一数与{name}接壤的地区。",
                "有多少个地区与{name}有共同边界？",
                "{name}周围有几个地区与它接壤？",
                "多少个地区紧挨着{name}？",
                "统计与{name}相邻的地区数。",
            ),
        ),
    },
    "higher": {
        "en": _opened(
            "en",
            combine(
                " ",
                ("which is higher up,", "which lies further up,", "which is nearer to the top,", "which lies higher,"),
                ("{first} or {second}?", "{second} or {first}?"),
            ),
        ),
        "zh": _opened(
            "zh",
            (
                "{first}和{second}哪个更靠上？",
                "更靠近上边的是{first}还是{second}？",
                "{second}和{first}哪个位置更高？",
                "{first}与{second}，谁更靠上？",
                "靠上的是{second}还是{first}？",
                "{second}与{first}相比，哪个更靠上？",
                "{first}、{second}中，哪个更靠近顶部？",
                "哪个更靠上，{first}还是{second}？",
            ),
        ),
    },
    "further_left": {
        "en": _opened(
            "en",
            combine(
                " ",
                (
                    "which is further left,",
                    "which lies further to the left,",
                    "which is nearer to the left edge,",
                    "which lies more to the left,",
                ),
                ("{first} or {second}?", "{second} or {first}?"),
            ),
        ),
        "zh": _opened(
            "zh",
            (
                "{first}和{second}哪个更靠左？",
                "更靠近左边的是{first}还是{second}？",
                "{second}和{first}哪个更靠左边？",
                "{first}与{second}，谁更靠左？",
                "靠左的是{second}还是{first}？",
                "{second}与{first}相比，哪个更靠左？",
                "{first}、{second}中，哪个更靠近左侧？",
                "哪个更靠左，{first}还是{second}？",
            ),
        ),
    },
}
"""By kind and language. `{name}`, `{first}` and `{second}` are regions, told by a name, a capital or a mark."""
