"""Pages of running text: articles, newspapers, letters, lists, books set from top to bottom, notes by hand."""

import random

from step3vl.data.sample import Size
from step3vl.pipelines.render.pages.page_style import PENS, Copy, PageStyle
from step3vl.pipelines.render.pages.sheet import Align, Sheet
from step3vl.pipelines.render.style import gradient


def _sheet(size: Size, copy: Copy, style: PageStyle) -> Sheet:
    return Sheet(size, style.paper, copy.right_to_left)


def _heading(sheet: Sheet, copy: Copy, style: PageStyle, x: float, y: float, width: float,
             scale: float, kind: str = "title", align: Align = "left") -> float:  # fmt: skip
    """A few words of the text as a heading; gives where the text below begins."""
    text = copy.phrase(max(4, round(1.6 * width / (style.size * scale * (1.0 if copy.script == "LATIN" else 1.6)))))
    if not text:
        return y
    pen = style.pen(text, scale, style.heading, style.accent, 1.25)
    y, _ = sheet.paragraph(sheet.block(kind), text, pen, x, y, width, sheet.size[1], align)
    return y + 0.5 * pen.size


def _running_head(sheet: Sheet, copy: Copy, style: PageStyle, rng: random.Random, margin: float) -> None:
    text = copy.phrase(30)
    number = str(rng.randint(1, 900))
    pen = style.pen(text + number, 0.85)
    y = margin * 0.55
    block = sheet.block("furniture")
    if text:
        sheet.write(block, text, pen, margin, y)
    sheet.write(block, number, pen, margin, y, sheet.size[0] - 2 * margin, "right", new_row=not text)
    if rng.random() < 0.5:
        sheet.rule(margin, y + 0.5 * pen.size, sheet.size[0] - margin, y + 0.5 * pen.size, style.ink)


def _page_number(sheet: Sheet, copy: Copy, style: PageStyle, rng: random.Random, margin: float, y: float) -> None:
    number = rng.randint(1, 900)
    form = rng.choice(("{0}", "- {0} -", "{1} {0}", "{0} / {2}"))
    if copy.language in ("zh", "ja") and "{1}" in form:
        form = "第 {0} {1}"
    text = form.format(number, copy.words["page"], number + rng.randint(0, 99))
    side: Align = rng.choice(("left", "centre", "right"))
    sheet.write(sheet.block("furniture"), text, style.pen(text, 0.85), margin, y, sheet.size[0] - 2 * margin, side)


def _columns(sheet: Sheet, copy: Copy, style: PageStyle, rng: random.Random, x: float, top: float, width: float,
             bottom: float, count: int, illustrated: bool = False) -> float:  # fmt: skip
    """Text in columns; gives the bottom of the lowest."""
    gutter = style.size * rng.uniform(1.4, 2.4)
    column = (width - (count - 1) * gutter) / count
    indent = style.size * 1.6 if rng.random() < 0.4 else 0.0
    between = 0.0 if indent else style.size * rng.uniform(0.4, 0.9)
    lowest = top
    rules = count > 1 and rng.random() < 0.3
    for number in range(count):
        if copy.is_empty:
            break
        left, y = x + number * (column + gutter), top
        if illustrated and rng.random() < 0.5:
            y = _illustration(sheet, copy, style, rng, left, y, column, bottom)
        while not copy.is_empty and y + style.size * style.leading <= bottom:
            if rng.random() < 0.12 and copy.length > 200 and bottom - y > 6 * style.size:
                y = _heading(sheet, copy, style, left, y + 0.3 * style.size, column, rng.uniform(1.05, 1.3))
            text = copy.paragraph()
            if not text:
                break
            y, rest = sheet.paragraph(
                sheet.block("prose"), text, style.pen(text), left, y, column, bottom, style.align, indent
            )
            copy.put_back(rest)
            y += between
            lowest = max(lowest, y)
            if rest:
                break
        if rules and number + 1 < count:
            middle = left + column + gutter / 2
            sheet.rule(middle, top, middle, bottom, (150, 150, 150))
    return lowest


def _illustration(sheet: Sheet, copy: Copy, style: PageStyle, rng: random.Random, x: float, y: float, width: float,
                  bottom: float) -> float:  # fmt: skip
    """A shape in place of an image, and its caption."""
    height = width * rng.uniform(0.3, 0.7)
    if y + height + 3 * style.size > bottom:
        return y
    size = max(1, int(width)), max(1, int(height))
    first, second = ((rng.randint(60, 230), rng.randint(60, 230), rng.randint(60, 230)) for _ in range(2))
    fill = gradient(size, first, second, vertical=rng.random() < 0.5)
    sheet.paste(fill, x, y)
    number = f"{copy.words['figure']} {rng.randint(1, 30)}"
    caption = f"{number}. {copy.phrase(60)}".rstrip(". ")
    pen = style.pen(caption, 0.85)
    y, _ = sheet.paragraph(sheet.block("caption"), caption, pen, x, y + height + 0.4 * style.size, width, bottom)
    return y + style.size


def article(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """One to three columns under a title, with a running head and a page number."""
    sheet = _sheet(size, copy, style)
    width, height = size
    margin = width * rng.uniform(0.06, 0.13)
    y = margin
    if rng.random() < 0.4:
        _running_head(sheet, copy, style, rng, margin)
        y += style.size
    room = width - 2 * margin
    if rng.random() < 0.7 and copy.length > 60:
        side: Align = rng.choice(("left", "centre"))
        y = _heading(sheet, copy, style, margin, y, room, rng.uniform(1.5, 2.2), align=side)
        if rng.random() < 0.3:
            text = f"{copy.phrase(20)}, {copy.value('date')}".strip(", ")
            sheet.write(sheet.block("prose"), text, style.pen(text), margin, y + style.size, room, side)
            y += style.size * 2
    most = max(1, min(3, int(room / (style.size * 14))))
    count = rng.randint(1, most) if copy.length * style.size > 2 * room else 1
    bottom = height - margin * 1.2
    # Columns of equal height where the text would not fill the page.
    area = copy.length * style.size**2 * style.leading * (0.55 if copy.script == "LATIN" else 1.05)
    if count > 1:
        bottom = min(bottom, y + area / room * 1.05 + 3 * style.size)
    y = _columns(sheet, copy, style, rng, margin, y, room, bottom, count, illustrated=rng.random() < 0.3)
    if rng.random() < 0.5:
        full = y > height * 0.75
        end = height - margin * 0.5 if full else min(height - margin * 0.5, y + 2.5 * style.size)
        _page_number(sheet, copy, style, rng, margin, end)
        y = end
    sheet.cut_off(round(y + margin * rng.uniform(0.5, 1.0)))
    return sheet


def newspaper(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A name, a date line and stories under headlines, in columns."""
    sheet = _sheet(size, copy, style)
    width, height = size
    margin = width * 0.05
    room = width - 2 * margin
    y = _heading(sheet, copy, style, margin, margin, room, rng.uniform(2.4, 3.4), "title", "centre")
    sheet.rule(margin, y, width - margin, y, style.ink, 2)
    line = copy.value("date")
    pen = style.pen(line, 0.9)
    block = sheet.block("furniture")
    sheet.write(block, line, pen, margin, y + 1.2 * pen.size)
    number = f"{copy.words['number']} {rng.randint(1, 9999)}"
    sheet.write(block, number, style.pen(number, 0.9), margin, y + 1.2 * pen.size, room, "right", new_row=False)
    y += 1.8 * pen.size
    sheet.rule(margin, y, width - margin, y, style.ink)
    y += style.size
    while not copy.is_empty and y < height - 8 * style.size:
        y = _heading(sheet, copy, style, margin, y, room, rng.uniform(1.5, 2.4))
        count = rng.randint(2, max(2, min(4, int(room / (style.size * 11)))))
        area = copy.length * style.size**2 * style.leading * (0.6 if copy.script == "LATIN" else 1.1)
        share = rng.choice((1.0, 0.5, 0.6))
        bottom = min(height - margin, y + area / room * share + 4 * style.size)
        y = _columns(sheet, copy, style, rng, margin, y, room, bottom, count, illustrated=rng.random() < 0.4)
        y += style.size
        if not copy.is_empty:
            sheet.rule(margin, y, width - margin, y, style.ink)
            y += style.size
    sheet.cut_off(round(y + margin))
    return sheet


def letter(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A sender, a date, a salutation, paragraphs and a signature, by hand where a face for it is there."""
    sheet = _sheet(size, copy, style)
    width, height = size
    margin = width * rng.uniform(0.08, 0.14)
    room = width - 2 * margin
    by_hand = rng.random() < 0.3
    if by_hand:
        style.body = style.heading = style.hand()
        style.size = round(style.size * 1.25)
        style.ink = style.accent = rng.choice(PENS)
        style.align = "left"
    y = margin + style.size
    side: Align = rng.choice(("left", "right"))
    sender = sheet.block("prose")
    for text in (copy.phrase(24), copy.phrase(30), copy.value("phone"), copy.value("email")):
        if text and sheet.write(sender, text, style.pen(text), margin, y, room, side):
            y += style.pen(text).step
    y += style.size
    date = copy.value("date")
    sheet.write(sheet.block("prose"), date, style.pen(date), margin, y, room, rng.choice(("left", "right")))
    y += 2.5 * style.size
    if rng.random() < 0.5 and (subject := copy.phrase(40)):
        subject = f"{copy.words['subject']}: {subject}"
        y, _ = sheet.paragraph(
            sheet.block("prose"), subject, style.pen(subject, 1.0, style.heading), margin, y, room, height
        )
        y += style.size
    salutation = f"{copy.words['dear']} {copy.phrase(16)},"
    sheet.write(sheet.block("prose"), salutation, style.pen(salutation), margin, y + style.size)
    y += 2.5 * style.size
    y = _columns(sheet, copy, style, rng, margin, y, room, height - margin - 6 * style.size, 1)
    closing = sheet.block("prose")
    text = copy.words["regards"]
    sheet.write(closing, text, style.pen(text), margin, y + 2 * style.size)
    name = copy.phrase(20)
    if name:
        face = style.hand() if style.hand().covers(name) else style.body
        pen = style.pen(name, 1.3, face, rng.choice(PENS))
        sheet.write(sheet.block("prose"), name, pen, margin, y + 2 * style.size + 2 * pen.size)
        y += 3 * pen.size
    sheet.cut_off(round(y + 3 * style.size + margin * 0.5))
    return sheet


def itemised(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A list under a heading: bullets, numbers, letters or boxes to tick."""
    sheet = _sheet(size, copy, style)
    width, height = size
    margin = width * rng.uniform(0.07, 0.14)
    y = _heading(sheet, copy, style, margin, margin, width - 2 * margin, rng.uniform(1.3, 1.9))
    mark = rng.choice(("ornament", "number", "letter", "box", "bracket"))
    ornament = rng.choice(style.ornaments)
    inset = 2.2 * style.size
    for number in range(1, 30):
        text = copy.phrase(rng.choice((20, 40, 80, 140)))
        if not text or y > height - margin - 2 * style.size:
            break
        block = sheet.block("item")
        label = {"ornament": ornament, "number": f"{number}.", "letter": f"{chr(96 + min(number, 26))})",
                 "box": "", "bracket": f"({number})"}[mark]  # fmt: skip
        pen = style.pen(text)
        if mark == "box":
            side = round(pen.size * 0.75)
            sheet.rectangle((margin, y + pen.size - side, margin + side, y + pen.size), None, style.ink, 1)
        if label:
            sheet.write(block, label, style.pen(label), margin, y + pen.size)
        room = width - 2 * margin - inset
        y, rest = sheet.paragraph(block, text, pen, margin + inset, y, room, height - margin, new_row=not label)
        y += style.size * 0.4
        if rest:
            break
    sheet.cut_off(round(y + margin * 0.7))
    return sheet


def vertical(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """Chinese or Japanese in lines from top to bottom, the first at the right."""
    width, height = size
    margin = width * rng.uniform(0.06, 0.12)
    step = style.size * rng.uniform(1.5, 2.1)
    per_line = max(4, int((height - 2 * margin) / style.size) - 1)
    paragraphs = ["".join(paragraph.split()) for paragraph in copy.paragraphs]
    count = sum(-(-len(paragraph) // per_line) for paragraph in paragraphs)
    sheet = _sheet((min(width, round(2 * margin + (count + 1) * step)), height), copy, style)
    x = sheet.size[0] - margin - style.size / 2
    ruled = rng.random() < 0.25
    for text in paragraphs:
        block = sheet.block("prose")
        while text and x > margin:
            line, text = _take_vertical(text, per_line)
            if not sheet.write_down(block, line, style.pen(line), x, margin):
                return sheet
            if ruled:
                sheet.rule(x - step / 2, margin, x - step / 2, height - margin, (170, 170, 170))
            x -= step
    return sheet


def _take_vertical(text: str, count: int) -> tuple[str, str]:
    """The characters of a line; a closing mark never begins the next."""
    end = count
    if end < len(text) and text[end] in "、。，．」』）】！？；：ー々":
        end += 1
    return text[:end], text[end:]


def note(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A page of a notebook, with or without rules, by hand where a face for it is there."""
    style.body = style.heading = style.hand()
    style.size = round(style.size * 1.3)
    style.ink = style.accent = rng.choice(PENS)
    style.align = "left"
    style.leading = rng.uniform(1.45, 1.8)
    sheet = _sheet(size, copy, style)
    width, height = size
    margin = width * rng.uniform(0.08, 0.15)
    step = round(style.size * style.leading)
    kind = rng.choice(("ruled", "grid", "plain", "dotted"))
    lines = (200, 212, 230)
    top = margin + style.size * 0.25
    if kind == "ruled":
        for number in range(int((height - top) / step)):
            sheet.rule(0, top + (number + 1) * step, width, top + (number + 1) * step, lines)
        if rng.random() < 0.5:
            sheet.rule(margin * 0.8, 0, margin * 0.8, height, (235, 170, 170))
    elif kind == "grid":
        for place in range(0, max(width, height), round(step * 0.6)):
            sheet.rule(place, 0, place, height, lines)
            sheet.rule(0, place, width, place, lines)
    elif kind == "dotted":
        for px in range(0, width, step):
            for py in range(0, height, step):
                sheet.canvas.point((px, py), (150, 150, 160))
    y = margin
    while not copy.is_empty:
        text = copy.paragraph()
        if not text:
            break
        y, rest = sheet.paragraph(sheet.block("prose"), text, style.pen(text), margin, y, width - 1.6 * margin,
                                  height - margin)  # fmt: skip
        if rest:
            break
    sheet.cut_off(round(y + margin * rng.uniform(0.4, 1.5)))
    return sheet
