"""What a person might type into a field, by what the field says that it is for."""

import random
import re
from collections.abc import Sequence

from step3vl.pipelines.gui.screen import Element, Screen

_SEARCH = re.compile(r"search|find\b|filter|query|搜索|查找|筛选", re.IGNORECASE)
_TEXTS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(words, re.IGNORECASE), texts)
    for words, texts in (
        (r"e-?mail|邮箱|邮件", ("anna.berg@example.org", "maria@example.com", "office@example.net")),
        (r"phone|mobile|\btel\b|电话|手机", ("555 0142", "555 0187", "020 7946 0321")),
        (r"\burl\b|website|网址|网站", ("https://example.org", "https://example.com/notes")),
        (r"password|密码", ("green-tea-42", "Lisbon2026")),
        (r"\b(hour|time)\b|时间", ("08:15", "14:00", "18:30")),
        (r"\bdate\b|birthday|日期|生日", ("2026-03-14", "2026-11-02", "1998-05-21")),
        (r"\b(zip|post\s?code|postal)\b|邮编", ("1010", "20095", "8001")),
        (r"city|town|location|城市|地点", ("Lisbon", "Oslo", "Vienna", "Nairobi")),
        (r"country|国家", ("Portugal", "Norway", "Kenya")),
        (r"street|address|街道|地址", ("12 Mill Lane", "4 Garden Road", "27 Harbour Street")),
        (r"amount|price|quantity|number|size|数量|金额|价格|编号|大小", ("3", "12", "42", "250")),
        (r"(device|computer|file|folder|host)\s?name|new name|设备|文件", ("holiday-2026", "notes", "studio-2")),
        (r"user\s?name|login|用户名|账号", ("aberg", "maria.s", "guest42")),
        (r"\bname\b|author|recipient|姓名|名字|收件人", ("Anna Berg", "Maria Santos", "A. Moreau")),
    )
)  # fmt: skip
_ELSE = ("weekly report", "team lunch", "budget 2026", "call the dentist", "notes for Monday", "green tea")


def text_for(field: Element, screen: Screen, rng: random.Random) -> str:
    """A text for a field.

    Args:
        field: By whose name, hint and type the text is chosen.
        screen: Whose words are searched for.
        rng: Chooses.
    """
    about = f"{field.name} {field.hint} {field.type}"
    if field.role == "searchbox" or _SEARCH.search(about):
        return rng.choice(_words(screen) or _ELSE)
    return rng.choice(next((texts for words, texts in _TEXTS if words.search(about)), _ELSE))


def _words(screen: Screen) -> Sequence[str]:
    """Words of a screen that one might search for."""
    words = (word.strip(".,:;!?()[]“”\"'…") for line in screen.lines for word in line.text.split())
    return [word for word in words if 4 <= len(word) <= 12 and word.isalpha()]
