"""Experts that click: buttons, links, boxes, tabs, menus, shapes."""

import re
from functools import cache, partial

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.miniwob.desk import Desk

SUBMIT = "$all('#area button, #area .final').find(e => /submit/i.test(e.textContent))"


def click(desk: Desk, element: str) -> None:
    desk.click(element)


def click_quoted_button(desk: Desk) -> None:
    desk.click(f"$text('button', {desk.quoted()[0]!r})")


def click_named_button(desk: Desk) -> None:
    for name in re.findall(r"button (\w+)", desk.goal):
        desk.click(f"$text('button', {name!r})")


def click_link(desk: Desk) -> None:
    desk.click(f"$text('.alink', {desk.quoted()[0]!r})")


def click_dialog_button(desk: Desk) -> None:
    label = desk.quoted()[0]
    desk.click("$q('.ui-dialog-titlebar-close')" if label == "x" else f"$text('.ui-dialog button', {label!r})")


def click_colour(desk: Desk) -> None:
    desk.click(f"$q('.color[data-color={desk.find('Click on the (.*) colored')}]')")


def choose_labels(desk: Desk) -> None:
    for name in desk.find(r"Select (.*) and click").split(", "):
        if name != "nothing":
            desk.click(f"$all('label').find(e => e.textContent === {name!r})")
    desk.click(SUBMIT)


def choose_synonyms(desk: Desk) -> None:
    """The words that the page's own table lists beside those of the goal."""
    for name in desk.find(r"similar to (.*) and click").split(", "):
        desk.click(
            f"(group => $all('label').find(e => group.includes(e.textContent)))"
            f"(SYNONYMS.find(g => g.includes({name!r})).concat({name!r}))"
        )
    desk.click(SUBMIT)


def expand_and_submit(desk: Desk) -> None:
    desk.click("$q('#area h3')")
    desk.click(SUBMIT)


def search_sections(desk: Desk, headers: str) -> None:
    """Open one section or tab after the other until the link is there."""
    link = f"$all('.alink').find(e => e.textContent === {desk.quoted()[0]!r} && e.offsetParent)"
    for number in range(desk.ask(f"$all({headers!r}).length")):
        if not desk.ask(f"!!{link}"):
            desk.click(f"$all({headers!r})[{number}]")
        if desk.done:  # of `click-tab-2-medium`, where a tab can be what is looked for
            return
    desk.click(link)


def click_tab(desk: Desk) -> None:
    desk.click(f"$text('.ui-tabs-anchor', {desk.find(r'(Tab #.)')!r})")


def choose_menu_path(desk: Desk) -> None:
    """With keys: a click on an item that has a menu of its own counts as the choice of it."""
    items = "$all('#menu > li')"
    desk.key("tab")
    for number, name in enumerate(desk.find(r"Select (.*)").split(">")):
        if number:
            desk.key("right")
        for _ in range(desk.ask(f"{items}.findIndex(e => e.firstElementChild.textContent === {name!r})")):
            desk.key("down")
        items = f"[...{items}.find(e => e.firstElementChild.textContent === {name!r}).querySelector('ul').children]"
    desk.key("enter")


def click_menu_item(desk: Desk) -> None:
    quoted = desk.quoted()
    if len(quoted) > 1:
        item = f"$all('#menu div').find(e => e.textContent.trim() === {quoted[1]!r})"
    else:
        item = "$all('#menu div').find(e => e.querySelector('.' + $q('#query .ui-icon').classList[1]))"
    desk.click("$q('#open-menu')")
    parent = desk.ask(f"(e => $near(e, '#menu > li') === e.parentElement ? null : $near(e, '#menu > li').id || "
                      f"($near(e, '#menu > li').id = 'opened'))({item})")  # fmt: skip
    if parent:
        desk.click("$q('#opened > div')")
    desk.click(item)


def click_pie(desk: Desk) -> None:
    desk.click("$all('[id^=wheelnav-divWheel-spreader]').find(e => e.getClientRects().length)")
    title = f"$all('svg text').find(e => e.textContent.trim() === {desk.quoted()[0]!r} && e.getClientRects().length)"
    desk.click(title)


def choose_shades(desk: Desk) -> None:
    colour = desk.find(r"shades of (\w+)")
    for number in desk.ask(f"$all('#area span').flatMap((e, i) => e.dataset.color === {colour!r} ? [i] : [])"):
        desk.click(f"$all('#area span')[{number}]")
    desk.click(SUBMIT)


# The shapes of a grid as they are described: size, colour, letter, digit or form.
_SHAPES = """$all('#area_svg > *').map((e, i) => {
  const tag = e.localName, text = e.textContent.trim();
  const size = tag === 'text' ? parseFloat(e.getAttribute('font-size'))
    : tag === 'circle' ? 2 * e.getAttribute('r') : e.getBoundingClientRect().width;
  const type = tag === 'text' ? (/[0-9]/.test(text) ? 'digit' : 'letter') : 'shape';
  const name = tag === 'text' ? text : {circle: 'circle', rect: 'rectangle', polygon: 'triangle'}[tag];
  return {size: size > 14 ? 'large' : 'small', color: e.getAttribute('fill'), type, name};
})"""


def _matching(desk: Desk, description: str) -> list[int]:
    words = description.split()
    numbers = []
    for number, shape in enumerate(desk.ask(_SHAPES)):
        if all(word in ("item", shape["size"], shape["color"], shape["type"], shape["name"]) for word in words):
            numbers.append(number)
    return numbers


def click_shape(desk: Desk) -> None:
    matches = _matching(desk, desk.find(r"Click on an? (.*)"))
    if not matches:
        raise Dropped("no_such_shape")
    desk.click(f"$all('#area_svg > *')[{matches[0]}]")


def count_shapes(desk: Desk) -> None:
    count = len(_matching(desk, desk.find(r"How many (.*?)s are there")))
    desk.click(f"$text('#count-buttons button', '{count}')")


def click_widget(desk: Desk) -> None:
    desk.click(f"$q('.widget [data-type={desk.quoted()[0]}]')")


def click_greatest(desk: Desk) -> None:
    values = [int(value) for value in desk.ask("$all('.card-value').map(e => e.textContent)")]
    desk.click(f"$all('.card')[{values.index(max(values))}]")
    desk.click(SUBMIT)


def focus_ordinal(desk: Desk) -> None:
    number = desk.find(r"the (\d)")
    desk.click(f"$q('#tt{number}')")


def click_coordinate(desk: Desk) -> None:
    place = desk.find(r"(\(.*\))")
    desk.click(f"document.getElementById({place!r})")


def identify_shape(desk: Desk) -> None:
    (shape,) = desk.ask(_SHAPES)
    kind = shape["name"] if shape["type"] == "shape" else shape["type"]
    desk.click(f"$q('[data-type={kind}]')")


def navigate_tree(desk: Desk) -> None:
    name = desk.quoted()[0]
    target = f"$all('#tree span').find(e => e.textContent === {name!r} && e.getClientRects().length)"
    for _ in range(6):
        if desk.ask(f"!!{target}"):
            break
        # The folder that leads to it, and is closed.
        desk.click(
            f"(e => {{ let shown = e; while (shown && !shown.getClientRects().length) "
            f"shown = shown.parentElement.closest('li'); return shown.querySelector(':scope > span'); }})"
            f"($all('#tree span').find(e => e.textContent === {name!r}))"
        )
    desk.click(target)


def mark_parity(desk: Desk) -> None:
    for row, text in enumerate(desk.ask("$all('.display-number').map(e => e.textContent)")):
        desk.click(f"$all('.row')[{row}].querySelector('.{'odd' if int(text) % 2 else 'even'}')")
    desk.click(SUBMIT)


def click_ascending(desk: Desk) -> None:
    desk.click("$text('svg text', '1')")
    while not desk.done:
        desk.click("$all('svg rect')[0]")


def generate_number(desk: Desk) -> None:
    conditions = {
        "less than": lambda value, bound: value < bound,
        "greater than": lambda value, bound: value > bound,
        "odd": lambda value, bound: value % 2 == 1,
        "even": lambda value, bound: value % 2 == 0,
    }
    fits = next(test for words, test in conditions.items() if words in desk.goal)
    bound = int((re.findall(r"\d+", desk.goal) or ["0"])[0])
    for _ in range(30):
        desk.click("$q('#generate')")
        if fits(int(desk.ask("$q('#display-number').textContent")), bound):
            break
    desk.click(SUBMIT)


_LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
_SMART = 0.45  # of the moves of the other player, as the page says; the rest are random


@cache
def _chance(board: str, mover: str) -> float:
    """How likely a win of x is, with spaces for what is free."""
    for player, value in (("x", 1.0), ("o", 0.0)):
        if any(all(board[place] == player for place in line) for line in _LINES):
            return value
    free = [place for place, mark in enumerate(board) if mark == " "]
    if not free:
        return 0.0
    chances = [_chance(board[:place] + mover + board[place + 1 :], "o" if mover == "x" else "x") for place in free]
    return max(chances) if mover == "x" else _SMART * min(chances) + (1 - _SMART) * sum(chances) / len(chances)


def play_tic_tac_toe(desk: Desk) -> None:
    while not desk.done:
        board = desk.ask("Array.from({length: 9}, (_, i) => $q('#ttt-' + i).className.includes('mark-x') ? 'x' : "
                         "$q('#ttt-' + i).className.includes('mark-o') ? 'o' : ' ').join('')")  # fmt: skip
        free = [place for place in range(9) if board[place] == " "]
        best = max(free, key=lambda place: _chance(board[:place] + "x" + board[place + 1 :], "o"))
        desk.click(f"$q('#ttt-{best}')")


def buy_ticket(desk: Desk) -> None:
    by = "price" if "cost" in desk.goal else "duration"
    sign = -1 if re.search("longest|most", desk.goal) else 1
    values = [sign * int(value) for value in desk.ask(f"$all('[data-{by}]').map(e => e.dataset.{by})")]
    desk.click(f"$all('.buy-ticket')[{values.index(min(values))}]")


def buy_stock(desk: Desk) -> None:
    bound = float(desk.find(r"less than \$([\d.]+)\."))
    for _ in range(25):
        if desk.ask("parseFloat($q('#stock-price').textContent.slice(1))") < bound - 1.5:  # NaN after the last price
            break
        desk.wait()
    desk.click("$q('#buy')")


def simple(element: str) -> partial[None]:
    """An expert that clicks one element."""
    return partial(click, element=element)


EXPERTS = {
    "ascending-numbers": click_ascending,
    "buy-ticket": buy_ticket,
    "click-button": click_quoted_button,
    "click-button-sequence": click_named_button,
    "click-checkboxes": choose_labels,
    "click-checkboxes-large": choose_labels,
    "click-checkboxes-soft": choose_synonyms,
    "click-checkboxes-transfer": choose_labels,
    "click-collapsible": expand_and_submit,
    "click-collapsible-nodelay": expand_and_submit,
    "click-collapsible-2": partial(search_sections, headers="#area h3"),
    "click-collapsible-2-nodelay": partial(search_sections, headers="#area h3"),
    "click-color": click_colour,
    "click-dialog": simple("$q('.ui-dialog-titlebar-close')"),
    "click-dialog-2": click_dialog_button,
    "click-link": click_link,
    "click-menu": choose_menu_path,
    "click-menu-2": click_menu_item,
    "click-option": choose_labels,
    "click-pie": click_pie,
    "click-pie-nodelay": click_pie,
    "click-shades": choose_shades,
    "click-shape": click_shape,
    "click-tab": click_tab,
    "click-tab-2": partial(search_sections, headers=".ui-tabs-anchor"),
    "click-tab-2-easy": partial(search_sections, headers=".ui-tabs-anchor"),
    "click-tab-2-hard": partial(search_sections, headers=".ui-tabs-anchor"),
    "click-tab-2-medium": partial(search_sections, headers=".ui-tabs-anchor"),
    "click-test": simple("$q('#subbtn')"),
    "click-test-2": click_named_button,
    "click-test-transfer": click_named_button,
    "click-widget": click_widget,
    "count-shape": count_shapes,
    "find-greatest": click_greatest,
    "focus-text": simple("$q('#tt')"),
    "focus-text-2": focus_ordinal,
    "generate-number": generate_number,
    "grid-coordinate": click_coordinate,
    "identify-shape": identify_shape,
    "navigate-tree": navigate_tree,
    "odd-or-even": mark_parity,
    "stock-market": buy_stock,
    "tic-tac-toe": play_tic_tac_toe,
    "unicode-test": click_quoted_button,
}
