"""Topics in Chinese. The fonts that the package carries have all their characters."""

from typing import Any

from step3vl.pipelines.sources.tables.topics import Topic

_ZH_CAPITALS = ("北京", "上海", "广州", "成都", "武汉", "西安", "昆明", "沈阳")
_ZH_INDUSTRY = ("钢材", "水泥", "煤炭", "化肥", "玻璃", "纸张", "铝材")
_ZH_SHELVES = ("家电", "服装", "食品", "图书", "家具", "数码")
_ZH_QUARTERS = ("一季度", "二季度", "三季度", "四季度")
_ZH_HOUSES = ("博物馆", "美术馆", "科技馆", "图书馆", "天文馆", "动物园")
_ZH_CITIES = ("上海", "海南", "河南", "青海", "长春", "天水", "三明", "白城", "大足", "江城")
_ZH_NAMES: dict[str, Any] = {
    "language": "zh",
    "change": "{measure}变化",
    "share": "比例 (%)",
    "range_names": ("最低", "平均", "最高"),
    "price_names": ("开盘", "最高", "最低", "收盘"),
    "quartile_names": ("最小值", "下四分位数", "中位数", "上四分位数", "最大值"),
}

ZH_TOPICS: tuple[Topic, ...] = (
    Topic(
        "产量",
        "万吨",
        5,
        860,
        0,
        (("产品", _ZH_INDUSTRY), ("城市", _ZH_CITIES)),
        "产品",
        _ZH_INDUSTRY,
        titles=("{place}工业产量（{year}年）", "{place}各{label}产量"),
        places=("全国", "华东地区", "西部地区", "北方"),
        **_ZH_NAMES,
    ),
    Topic(
        "销售额",
        "亿元",
        2,
        420,
        1,
        (("季度", _ZH_QUARTERS), ("部门", _ZH_SHELVES)),
        "部门",
        _ZH_SHELVES,
        titles=("{place}{year}年销售额", "{place}各{label}销售额"),
        places=("长江集团", "东方商场", "新星公司", "海天超市"),
        **_ZH_NAMES,
    ),
    Topic(
        "降水量",
        "毫米",
        5,
        300,
        0,
        (("城市", _ZH_CAPITALS),),
        "城市",
        _ZH_CAPITALS,
        titles=("{year}年主要城市降水量", "{place}各城市降水量"),
        places=("全国", "夏季", "全年"),
        **_ZH_NAMES,
    ),
    Topic(
        "平均气温",
        "摄氏度",
        1,
        33,
        1,
        (("城市", _ZH_CAPITALS),),
        "城市",
        _ZH_CAPITALS,
        titles=("{year}年{place}平均气温", "{place}平均气温"),
        places=("各城市", "主要城市"),
        additive=False,
        **_ZH_NAMES,
    ),
    Topic(
        "参观人数",
        "千人",
        4,
        260,
        0,
        (("场馆", _ZH_HOUSES),),
        "场馆",
        _ZH_HOUSES,
        titles=("{place}{year}年参观人数", "{place}各{label}参观人数"),
        places=("市", "全市", "暑期"),
        **_ZH_NAMES,
    ),
)
