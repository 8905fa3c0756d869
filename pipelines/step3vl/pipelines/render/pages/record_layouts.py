"""Pages of labels and values: tables, receipts, forms and cards."""

import random

from step3vl.data.sample import Size
from step3vl.pipelines.render.pages.page_style import PENS, Copy, PageStyle
from step3vl.pipelines.render.pages.sheet import Align, Field, Pen, Sheet
from step3vl.pipelines.render.style import Colour

_FORM_KEYS = (
    "name", "address", "city", "country", "phone", "email", "date", "number", "id_number", "birth", "occupation",
    "company", "department", "position", "expires",
)  # fmt: skip
_CARD_KEYS = (
    "name", "id_number", "birth", "occupation", "company", "department", "position", "expires", "country", "city",
    "phone", "email",
)  # fmt: skip


def _shortened(text: str, pen: Pen, width: float) -> str:
    """As much of a text as fits, whole words if possible."""
    while text and pen.width(text) > width:
        shorter = text.rsplit(" ", 1)[0]
        text = shorter if shorter != text else text[:-1]
    return text.rstrip(" ,.;:")


def table(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A table with or without rules, shading and a heading; cells are words of the text, and numbers."""
    sheet = Sheet(size, style.paper, copy.right_to_left)
    width, height = size
    margin = width * rng.uniform(0.05, 0.1)
    room = width - 2 * margin
    y = margin
    if rng.random() < 0.6 and (title := copy.phrase(40)):
        pen = style.pen(title, rng.uniform(1.2, 1.6), style.heading, style.accent, 1.25)
        y, _ = sheet.paragraph(sheet.block("title"), title, pen, margin, y, room, height / 3)
        y += style.size * 0.8
    count = rng.randint(2, max(2, min(6, int(room / (style.size * 6)))))
    weights = [rng.uniform(0.7, 1.6) for _ in range(count)]
    widths = [room * weight / sum(weights) for weight in weights]
    kinds = ["words"] + [rng.choice(("words", "words", "price", "quantity", "date", "number")) for _ in widths[1:]]
    aligns: list[Align] = [
        "right" if kind in ("price", "quantity") else rng.choice(("left", "left", "centre")) for kind in kinds
    ]
    rules = rng.choice(("grid", "rows", "book", "none", "zebra"))
    faint: Colour = (232, 236, 242)
    step = round(style.size * rng.uniform(1.7, 2.4))
    pad = style.size * 0.45
    block = sheet.block("table")
    top = y
    number = 0
    while number < 25 and y + step < height - margin:
        texts = []
        for kind in kinds:
            if number == 0:
                texts.append(copy.words[kind] if kind != "words" and rng.random() < 0.8 else copy.phrase(14))
            else:
                texts.append(copy.value(kind, 18) if kind != "words" else copy.phrase(20))
        if not texts[0] or not all(texts):
            break
        cells = []
        for text, cell in zip(texts, widths, strict=True):
            pen = style.pen(text, 1.0, style.heading if number == 0 else None)
            cells.append((_shortened(text, pen, cell - 2 * pad), pen))
        if not all(text for text, _ in cells):
            break
        if (rules == "zebra" and number % 2) or (number == 0 and rules in ("grid", "zebra") and rng.random() < 0.6):
            sheet.rectangle((margin, y, margin + room, y + step), faint)
        x = margin
        for place, ((text, pen), cell, align) in enumerate(zip(cells, widths, aligns, strict=True)):
            baseline = y + (step + pen.size * 0.72) / 2
            sheet.write(block, text, pen, x + pad, baseline, cell - 2 * pad, align, new_row=place == 0)
            x += cell
        y += step
        number += 1
        if rules in ("rows", "grid") or (rules == "book" and number == 1):
            sheet.rule(margin, y, margin + room, y, style.ink)
    if rules in ("grid", "book", "rows"):
        for edge in (top, y):
            sheet.rule(margin, edge, margin + room, edge, style.ink, 2 if rules == "book" else 1)
    if rules == "grid":
        x = margin
        for cell in (*widths, 0.0):
            sheet.rule(x, top, x, y, style.ink)
            x += cell
    if rng.random() < 0.4 and (text := copy.phrase(60)):
        pen = style.pen(text, 0.9)
        y, _ = sheet.paragraph(sheet.block("prose"), text, pen, margin, y + style.size, room, height - margin)
    sheet.cut_off(round(y + margin * 0.8))
    return sheet


def receipt(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A till receipt: items with prices that add up, tax, payment and thanks."""
    width = min(size[0], round(style.size * rng.uniform(20, 28)))
    height = style.size * 60  # cut off below the last line
    style.body = style.mono()
    sheet = Sheet((width, height), style.paper, copy.right_to_left)
    margin = width * 0.06
    room = width - 2 * margin
    y = margin + style.size

    def line(text: str, align: Align = "left", kind: str = "row", scale: float = 1.0) -> None:
        nonlocal y
        pen = style.pen(text, scale)
        text = _shortened(text, pen, room)
        if text and sheet.write(sheet.block(kind), text, pen, margin, y, room, align):
            y += pen.step

    def pair(label: str, value: str, scale: float = 1.0, field: bool = True) -> None:
        nonlocal y
        right = style.pen(value, scale)
        left = style.pen(label, scale)
        label = _shortened(label, left, room - right.width(value) - style.size)
        if not label or y > height - margin:
            return
        block = sheet.block("row")
        if sheet.write(block, label, left, margin, y) and sheet.write(
            block, value, right, margin, y, room, "right", new_row=False
        ):
            if field:
                sheet.fields.append(Field(label, value))
            y += max(left.step, right.step)

    def divide() -> None:
        nonlocal y
        style_of_rule = rng.choice(("solid", "dashed", "double"))
        place = y - style.size * 0.5
        if style_of_rule == "dashed":
            for x in range(round(margin), round(width - margin), 8):
                sheet.rule(x, place, x + 4, place, style.ink)
        else:
            sheet.rule(margin, place, width - margin, place, style.ink)
            if style_of_rule == "double":
                sheet.rule(margin, place + 3, width - margin, place + 3, style.ink)
        y += style.size * 0.8

    line(copy.phrase(18), "centre", "title", rng.uniform(1.2, 1.6))
    if rng.random() < 0.6:
        line(copy.phrase(28), "centre")
        line(copy.value("phone"), "centre")
    for key in rng.sample(("date", "time", "number", "table", "order"), rng.randint(2, 4)):
        pair(copy.words[key], copy.value(key))
    divide()
    decimals = 0 if copy.language in ("ja", "ko") else 2
    comma = copy.language in ("de", "es", "it", "pt", "fr", "ru")

    def money(cents: int) -> str:
        text = f"{cents:,}" if not decimals else f"{cents / 100:.2f}"
        return text.replace(".", ",") if comma else text

    total = 0
    for _ in range(rng.randint(2, 12)):
        name = copy.phrase(18 if copy.script == "LATIN" else 10)
        if not name and not total:
            name = copy.words["item"]
        if not name or y > height - 12 * style.size:
            break
        count = rng.choice((1, 1, 1, 2, 3))
        price = rng.randint(50, 9000)
        total += count * price
        label = f"{count} x {name}" if count > 1 and rng.random() < 0.7 else name
        pair(label, money(count * price))
    divide()
    tax = round(total * rng.choice((0.05, 0.06, 0.08, 0.1, 0.19, 0.2)))
    if rng.random() < 0.6:
        pair(copy.words["subtotal"], money(total))
        pair(copy.words["tax"], money(tax))
        total += tax
    pair(copy.words["total"], money(total), rng.uniform(1.0, 1.4))
    if rng.random() < 0.5:
        paid = -(-total // 1000) * 1000
        pair(copy.words["cash"], money(paid))
        pair(copy.words["change"], money(paid - total))
    else:
        pair(copy.words["card"], copy.value("card"))
    divide()
    line(copy.words["thanks"], "centre")
    if rng.random() < 0.5:
        y = _barcode(sheet, margin + room * 0.1, y, room * 0.8, style.size * 3, rng)
        line(copy.value("number"), "centre")
    sheet.cut_off(round(y + margin))
    return sheet


def _barcode(sheet: Sheet, x: float, y: float, width: float, height: float, rng: random.Random) -> float:
    place = x
    while place < x + width:
        bar = rng.choice((1, 1, 2, 3))
        sheet.rectangle((place, y, place + bar, y + height), (0, 0, 0))
        place += bar + rng.choice((1, 2, 2, 3))
    return y + height + 24


def form(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A form that is filled in, by hand or by machine, with boxes to tick."""
    sheet = Sheet(size, style.paper, copy.right_to_left)
    width, height = size
    margin = width * rng.uniform(0.06, 0.12)
    room = width - 2 * margin
    y = margin
    if title := copy.phrase(36):
        pen = style.pen(title, rng.uniform(1.3, 1.8), style.heading, style.accent, 1.25)
        y, _ = sheet.paragraph(
            sheet.block("title"), title, pen, margin, y, room, height / 3, rng.choice(("left", "centre"))
        )
        y += style.size
    face = style.hand() if rng.random() < 0.5 else style.body if rng.random() < 0.6 else style.mono()
    colour = rng.choice(PENS)
    keys = rng.sample(_FORM_KEYS, rng.randint(4, 12))
    columns = 2 if rng.random() < 0.4 and room > style.size * 34 else 1
    look = rng.choice(("line", "box", "dots", "table", "colon"))
    above = look == "box" and rng.random() < 0.5
    column = room / columns
    step = style.size * (rng.uniform(3.4, 4.0) if above else rng.uniform(2.1, 2.9))
    labels = [copy.words[key] for key in keys]
    share = max(style.pen(label).width(label + ": ") for label in labels) + style.size * 0.5
    for number, (key, label) in enumerate(zip(keys, labels, strict=True)):
        x = margin + (number % columns) * column
        if y + step > height - margin or share > column * 0.65:
            break
        value = copy.value(key, 26)
        pen = style.pen(label)
        baseline = y + style.size * 1.4
        start, end = (x, x + column - style.size) if above else (x + share, x + column - style.size)
        value_pen = style.pen(value, 1.15, face, colour, 1.3)
        value = _shortened(value, value_pen, end - start - style.size * 0.6)
        caption = f"{label}:" if look == "colon" or rng.random() < 0.3 else label
        value_line = baseline + style.size * 1.55 if above else baseline
        if look == "line":
            sheet.rule(start, value_line + style.size * 0.35, end, value_line + style.size * 0.35, (90, 90, 90))
        elif look == "dots":
            for place in range(round(start), round(end), 5):
                sheet.rule(
                    place, value_line + style.size * 0.35, place + 1, value_line + style.size * 0.35, (90, 90, 90)
                )
        elif look == "box":
            sheet.rectangle(
                (start, value_line - style.size * 1.15, end, value_line + style.size * 0.45), None, (110, 110, 110)
            )
        elif look == "table":
            sheet.rectangle((x, y, x + column, y + step), None, (120, 120, 120))
            baseline = value_line = y + step / 2 + style.size * 0.35
            x, start = x + style.size * 0.4, start + style.size * 0.4
        block = sheet.block("row")
        sheet.write(block, caption, pen, x, baseline)
        if value:
            sheet.write(block, value, value_pen, start + style.size * 0.3, value_line, new_row=above)
            sheet.fields.append(Field(label, value))
        if number % columns == columns - 1 or number == len(keys) - 1:
            y += step
    y += style.size
    if rng.random() < 0.5:
        y = _ticks(sheet, copy, style, rng, margin, y, room, height - margin)
    if rng.random() < 0.4 and (text := copy.phrase(120)):
        y, _ = sheet.paragraph(sheet.block("prose"), text, style.pen(text, 0.9), margin, y, room, height - margin)
    sheet.cut_off(round(y + margin))
    return sheet


def _ticks(sheet: Sheet, copy: Copy, style: PageStyle, rng: random.Random, x: float, y: float, room: float,
           bottom: float) -> float:  # fmt: skip
    """Boxes to tick, each before a few words."""
    side = round(style.size * 0.8)
    for _ in range(rng.randint(2, 5)):
        text = copy.phrase(40)
        if not text or y + 2 * style.size > bottom:
            break
        pen = style.pen(text)
        text = _shortened(text, pen, room - 2 * style.size)
        sheet.rectangle((x, y + style.size - side, x + side, y + style.size), None, style.ink, 1)
        if rng.random() < 0.5:
            sheet.rule(x + 2, y + style.size - side * 0.5, x + side * 0.4, y + style.size - 2, (30, 50, 150), 2)
            sheet.rule(x + side * 0.4, y + style.size - 2, x + side, y + style.size - side, (30, 50, 150), 2)
        if text:
            sheet.write(sheet.block("item"), text, pen, x + 1.6 * style.size, y + style.size)
        y += style.size * 1.8
    return y + style.size


def card(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A card: an identity card, a pass, a membership card or a business card."""
    unit = style.size
    width = min(size[0], round(unit * rng.uniform(24, 32)))
    height = round(width / 1.586)  # ISO/IEC 7810 ID-1
    if rng.random() < 0.6:
        style.tint(rng)
    sheet = Sheet((width, height), style.paper, copy.right_to_left)
    sheet.rectangle((2, 2, width - 3, height - 3), None, style.ink, 1, radius=12)
    margin = width * 0.06
    y = margin
    if title := copy.phrase(22):
        pen = style.pen(title, 1.3, style.heading, style.accent, 1.2)
        title = _shortened(title, pen, width - 2 * margin)
        if title:
            sheet.write(sheet.block("title"), title, pen, margin, y + pen.size)
        y += pen.size * 1.9
    x = margin
    if rng.random() < 0.6:
        photo = (margin, y, margin + width * 0.24, min(height - margin, y + width * 0.31))
        sheet.rectangle(photo, (190, 195, 200), (120, 120, 120))
        middle = (photo[0] + photo[2]) / 2
        if not copy.right_to_left:
            sheet.canvas.ellipse(
                (middle - unit * 1.5, photo[1] + unit, middle + unit * 1.5, photo[1] + unit * 4), (140, 145, 150)
            )
        x = photo[2] + unit
    for key in rng.sample(_CARD_KEYS, rng.randint(3, 6)):
        label = copy.words[key]
        value = copy.value(key, 20)
        pen = style.pen(label, 0.75)
        below = style.pen(value, 1.0)
        room = width - margin - x
        beside = rng.random() < 0.5
        start = x + pen.width(label) + unit * 0.6 if beside else x
        value = _shortened(value, below, width - margin - start)
        if not value or pen.width(label) > room or y + unit * (1.7 if beside else 2.7) > height - margin * 0.6:
            continue
        block = sheet.block("row")
        sheet.write(block, label, pen, x, y + unit)
        if not beside:
            y += unit * 1.15
        sheet.write(block, value, below, start, y + unit, new_row=not beside)
        sheet.fields.append(Field(label, value))
        y += unit * 1.6
    return sheet
