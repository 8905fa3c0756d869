"""Signs, posters, slides, screens and texts that stand anywhere on an image."""

import random

from step3vl.data.sample import Size
from step3vl.pipelines.render.pages.page_style import Copy, PageStyle
from step3vl.pipelines.render.pages.sheet import Align, Sheet
from step3vl.pipelines.render.style import Colour


def sign(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A few large words on a plate: a street sign, a shop sign, a label."""
    style.tint(rng)
    width = size[0]
    height = min(size[1], round(width * rng.uniform(0.25, 0.9)))
    sheet = Sheet((width, height), style.paper, copy.right_to_left)
    margin = min(width, height) * rng.uniform(0.08, 0.16)
    border = rng.choice((0, 2, 4, 8))
    if border:
        inset = margin * 0.35
        sheet.rectangle(
            (inset, inset, width - inset, height - inset), None, style.ink, border, rng.choice((0, 12, 30))
        )
    text = copy.phrase(rng.choice((8, 16, 30, 48)))
    side: Align = rng.choice(("centre", "centre", "left"))
    scale = _largest(style, text, width - 2 * margin, height - 2 * margin, rng)
    pen = style.pen(text, scale, style.heading, leading=1.2 * style.leading / 1.35)
    block = sheet.block("part")
    trial = Sheet(sheet.size, style.paper, copy.right_to_left)
    used, _ = trial.paragraph(trial.block("part"), text, pen, margin, 0, width - 2 * margin, 10.0 * height, side)
    sheet.paragraph(block, text, pen, margin, max(margin, (height - used) / 2), width - 2 * margin, height, side)
    return sheet


def _largest(style: PageStyle, text: str, width: float, height: float, rng: random.Random) -> float:
    """A size at which a text fits into a room, relative to the running text."""
    for scale in (6.0, 5.0, 4.0, 3.2, 2.6, 2.1, 1.7, 1.4, 1.2):
        pen = style.pen(text, scale, style.heading)
        words = text.split() or [text]
        rows = max(1.0, pen.width(text) / (width * 0.8))
        if max(map(pen.width, words)) <= width and rows * pen.size * 1.6 <= height:
            return scale * rng.uniform(0.8, 1.0)
    return 1.0


def poster(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """Lines of different sizes and faces under each other, on colours."""
    style.tint(rng)
    sheet = Sheet(size, style.paper, copy.right_to_left)
    width, height = size
    margin = width * rng.uniform(0.06, 0.12)
    if rng.random() < 0.5:
        band = height * rng.uniform(0.1, 0.3)
        sheet.rectangle((0, 0, width, band), _shifted(style.paper, rng))
    side: Align = rng.choice(("centre", "centre", "left", "right"))
    y = margin
    for number in range(rng.randint(3, 8)):
        text = copy.phrase(rng.choice((10, 20, 40, 70)))
        if not text:
            break
        scale = rng.choice((1.0, 1.4, 2.0, 2.8, 3.6)) if number else rng.uniform(2.5, 4.0)
        pen = style.pen(text, scale, rng.choice((style.body, style.heading)), leading=1.3 * style.leading / 1.35)
        if y + 2 * pen.step > height - margin:
            continue
        y, rest = sheet.paragraph(sheet.block("part"), text, pen, margin, y, width - 2 * margin, height - margin, side)
        y += pen.size * rng.uniform(0.3, 0.9)
        if rest:
            break
    sheet.cut_off(round(y + margin))
    return sheet


def _shifted(colour: Colour, rng: random.Random) -> Colour:
    """A colour a little off another, so that text contrasts with both."""
    shift = rng.choice((-22, 22))
    red, green, blue = (max(0, min(255, value + shift)) for value in colour)
    return red, green, blue


def slide(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A slide: a title and short points."""
    if rng.random() < 0.4:
        style.darken(rng)
    width, height = size[0], min(size[1], round(size[0] * rng.choice((9 / 16, 3 / 4))))
    sheet = Sheet((width, height), style.paper, copy.right_to_left)
    margin = width * 0.07
    title = copy.phrase(36)
    if not title:
        return sheet
    pen = style.pen(title, 1.8, style.heading, style.accent, 1.25)
    y, _ = sheet.paragraph(sheet.block("title"), title, pen, margin, margin * 0.8, width - 2 * margin, height)
    if rng.random() < 0.5:
        sheet.rule(margin, y + 4, width - margin, y + 4, style.accent, 2)
    y += style.size
    mark = rng.choice(style.ornaments)
    for _ in range(rng.randint(2, 7)):
        text = copy.phrase(rng.choice((30, 60, 90)))
        if not text:
            break
        pen = style.pen(text, 1.2)
        if y + pen.step > height - margin * 0.7:
            break
        block = sheet.block("item")
        sheet.write(block, mark, style.pen(mark, 1.2), margin, y + pen.size)
        y, rest = sheet.paragraph(block, text, pen, margin + 1.6 * pen.size, y, width - 2 * margin - 1.6 * pen.size,
                                  height - margin * 0.7, new_row=False)  # fmt: skip
        y += style.size * 0.6
        if rest:
            break
    return sheet


def screen(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """A window: a title bar, a menu, a list or a message, and buttons."""
    if rng.random() < 0.45:
        style.darken(rng)
    dark = style.paper != (255, 255, 255)
    bar: Colour = (45, 48, 56) if dark else (228, 230, 234)
    line: Colour = (95, 98, 105) if dark else (190, 193, 198)
    width, height = size
    style.align = "left"
    sheet = Sheet(size, style.paper, copy.right_to_left)
    pad = style.size * 0.8
    row = style.size * 2.2
    sheet.rectangle((0, 0, width - 1, row), bar)
    if title := copy.phrase(30):
        sheet.write(sheet.block("title"), title, style.pen(title), pad, row * 0.5 + style.size * 0.36, width - 5 * row,
                    rng.choice(("left", "centre")))  # fmt: skip
    for number in range(3):
        x = width - (number + 1) * row * 0.7
        sheet.rectangle((x, row * 0.3, x + row * 0.36, row * 0.66), None, line, 2)
    y = row
    if rng.random() < 0.7:
        menu = sheet.block("row")
        x = pad
        for key in ("file", "edit", "view", "settings", "help"):
            text = copy.words[key]
            pen = style.pen(text)
            if x + pen.width(text) > width - pad:
                break
            sheet.write(menu, text, pen, x, y + row * 0.62, new_row=not menu.rows)
            x += pen.width(text) + style.size * 1.5
        y += row
        sheet.rule(0, y, width, y, line)
    side = width * rng.uniform(0.22, 0.35) if rng.random() < 0.45 else 0.0
    bottom = height - row * 1.8
    if side:
        sheet.rectangle((0, y + 1, side, height), bar)
        top = y + pad
        entries = sheet.block("menu")
        for _ in range(rng.randint(3, 12)):
            text = copy.phrase(16)
            pen = style.pen(text)
            if not text or top + row > bottom or pen.width(text) > side - 2 * pad:
                break
            sheet.write(entries, text, pen, pad, top + style.size)
            top += row * 0.85
    y += pad
    for _ in range(rng.randint(2, 9)):
        text = copy.phrase(rng.choice((24, 60, 120)))
        if not text or y + 2 * style.size > bottom:
            break
        y, rest = sheet.paragraph(
            sheet.block("prose"), text, style.pen(text), side + pad, y, width - side - 2 * pad, bottom
        )
        y += style.size * 0.9
        if rest:
            break
    y = max(y, row * 3)
    x = width - pad
    buttons = sheet.block("row")
    keys = rng.sample(("ok", "cancel", "save", "open", "yes", "no", "search"), rng.randint(1, 3))
    shapes = []
    for key in keys:
        text = copy.words[key]
        pen = style.pen(text)
        x -= pen.width(text) + 2 * pad
        shapes.append((x, text, pen))
        x -= pad * 0.6
    for left, text, pen in reversed(shapes):
        sheet.rectangle((left, y + 4, left + pen.width(text) + 2 * pad, y + row - 4), bar, line, 1, 6)
        sheet.write(buttons, text, pen, left + pad, y + row * 0.5 + style.size * 0.36, new_row=not buttons.rows)
    sheet.cut_off(round(y + row + pad))
    return sheet


def terminal(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """Lines of a terminal, in one face of equal widths."""
    if rng.random() < 0.8:
        style.darken(rng)
        style.ink = rng.choice(((230, 230, 230), (90, 240, 120), (255, 190, 70), style.ink))
    style.body = style.mono()
    style.leading = max(1.25, style.leading * 0.85)
    width, height = size
    sheet = Sheet(size, style.paper, copy.right_to_left)
    margin = float(style.size)
    y = margin
    block = sheet.block("prose")
    while not copy.is_empty:
        text = copy.paragraph()
        if not text:
            break
        y, rest = sheet.paragraph(block, text, style.pen(text), margin, y, width - 2 * margin, height - margin)
        if rest:
            break
    sheet.cut_off(round(y + margin))
    return sheet


def scattered(size: Size, copy: Copy, style: PageStyle, rng: random.Random) -> Sheet:
    """Texts of many sizes and colours at places that give no order: they are asked for one by one."""
    sheet = Sheet(size, style.paper, copy.right_to_left)
    sheet.ordered = False
    width, height = size
    taken: list[tuple[float, float, float, float]] = []
    for _ in range(rng.randint(4, 14)):
        text = copy.phrase(rng.choice((6, 12, 20, 32)))
        if not text:
            break
        pen = style.pen(text, rng.choice((0.9, 1.0, 1.2, 1.6, 2.2, 3.0)), rng.choice((style.body, style.heading)),
                        rng.choice((style.ink, style.accent)))  # fmt: skip
        length, rise = pen.width(text), pen.size * 1.4
        if length > width * 0.9:
            continue
        for _ in range(12):
            x, y = rng.uniform(8, width - length - 8), rng.uniform(8, height - rise - 8)
            box = (x - 6, y - 6, x + length + 6, y + rise + 6)
            if all(box[2] < o[0] or o[2] < box[0] or box[3] < o[1] or o[3] < box[1] for o in taken):
                if sheet.write(sheet.block("part"), text, pen, x, y + pen.size):
                    taken.append(box)
                break
    return sheet
