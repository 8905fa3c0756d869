"""Experts that write: into fields, forms, a terminal."""

import re
from fractions import Fraction

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.miniwob.clicking import SUBMIT
from step3vl.pipelines.gui.miniwob.desk import Desk


def enter_quoted(desk: Desk) -> None:
    text = desk.quoted()[0]
    if "upper case" in desk.goal:
        text = text.upper()
    if "lower case" in desk.goal:
        text = text.lower()
    desk.type("$q('#tt')", text)
    desk.click(SUBMIT)


def enter_password(desk: Desk) -> None:
    for field in ("#password", "#verify"):
        desk.type(f"$q('{field}')", desk.quoted()[0])
    desk.click(SUBMIT)


def log_in(desk: Desk) -> None:
    """Also where a window comes up when a field is entered; it is dismissed, and the field entered again."""
    for field, text in zip(("#username", "#password"), desk.quoted(), strict=False):
        for _ in range(3):
            if desk.ask("!!$q('#popup-cancel')"):
                desk.click("$q('#popup-cancel')")
            desk.type(f"$q('{field}')", text)
            if desk.ask(f"$q('{field}').value") == text and not desk.ask("!!$q('#popup-cancel')"):
                break
    desk.click("$q('#subbtn')")


def read_table(desk: Desk) -> None:
    fields = desk.ask("$all('#form input').map((e, i) => [i, $all('#form label')[i]?.dataset.key ?? ''])")
    for number, name in fields:
        name = name or desk.find(r"value of (.*) into")
        value = desk.ask(f"$all('#tab tr').find(e => e.cells[0].textContent === {name!r}).cells[1].textContent")
        desk.type(f"$all('#form input')[{number}]", value)
    desk.click(SUBMIT)


def find_word(desk: Desk) -> None:
    words = desk.ask("$q('#area p').textContent").split()
    word = words[int(desk.find(r"the (\d+)\w\w word")) - 1]
    desk.type("$q('#answer-input')", word.strip(".,"))
    desk.click(SUBMIT)


def find_last_word(desk: Desk) -> None:
    desk.type("$q('#answer-input')", desk.ask("$q('#text-area').value").split()[-1].strip(".,"))
    desk.click(SUBMIT)


def calculate(desk: Desk) -> None:
    text = desk.ask("$q('#math-problem').textContent").replace("=", "").strip()
    left, sign, right = text.split()
    first, second = int(left), int(right)
    result = {"+": first + second, "-": first - second, "x": first * second}[sign]
    desk.type("$q('#math-answer')", str(result))
    desk.click(SUBMIT)


def solve_equation(desk: Desk) -> None:
    """An equation in x of the first degree: two values of it tell where it is 0."""
    left, right = desk.ask("$q('#math-problem').textContent").split("=")

    def difference(x: int) -> Fraction:
        return _evaluate(left, x) - _evaluate(right, x)

    at_zero, slope = difference(0), difference(1) - difference(0)
    if not slope:
        raise Dropped("unknown_goal")
    desk.type("$q('#math-answer')", str(-at_zero / slope))
    desk.click(SUBMIT)


def _evaluate(text: str, x: int) -> Fraction:
    tokens = text.replace("x", str(x)).split()
    value = Fraction(tokens[0])
    for sign, token in zip(tokens[1::2], tokens[2::2], strict=True):
        number = Fraction(token)
        value = {"+": value + number, "-": value - number, "*": value * number}[sign]
    return value


def count_blocks(desk: Desk) -> None:
    desk.type("$q('#math-answer')", str(desk.ask("$all('.addition-block').length")))
    desk.click(SUBMIT)


def read_captcha(desk: Desk) -> None:
    desk.type("$q('#tt')", desk.ask("$q('#captcha').textContent.trim()"))
    desk.click(SUBMIT)


def guess_number(desk: Desk) -> None:
    """By halves, from what the page says of the last guess."""
    low, high = 0, 9
    while not desk.done:
        guess = (low + high) // 2
        desk.type("$q('#tt')", str(guess))
        desk.click(SUBMIT)
        if desk.done:
            break
        if desk.ask("!$q('#lower').classList.contains('hide')"):
            high = guess - 1
        else:
            low = guess + 1


def use_autocomplete(desk: Desk) -> None:
    start, *end = desk.quoted()
    desk.type("$q('#tags')", start)
    ends = end[0] if end else ""
    for _ in range(3):
        if desk.ask("$all('.ui-menu-item').some(e => e.getClientRects().length)"):
            break
        desk.wait()
    desk.click(
        f"$all('.ui-menu-item').find(e => e.textContent.startsWith({start!r}) && e.textContent.endsWith({ends!r}))"
    )
    desk.click(SUBMIT)


def copy_text(desk: Desk) -> None:
    """With the keys for it: all of the text is selected and copied, and pasted into the field."""
    number = desk.find(r"from the (\d)") if "from the" in desk.goal else ""
    desk.click(f"$q('#text-{number}')" if number else "$q('#to-copy')")
    desk.key("ctrl+a")
    desk.key("ctrl+c")
    desk.click("$q('#answer-input')")
    desk.key("ctrl+v")
    desk.click(SUBMIT)


def enter_date(desk: Desk) -> None:
    """Month, day and year into the parts of the field, from the first on."""
    x1, y1, _, y2 = desk.box("$q('#tt')")
    desk.type_at(x1 + 6, (y1 + y2) / 2, desk.find(r"([\d/]+)").replace("/", ""))
    desk.click(SUBMIT)


def enter_time(desk: Desk) -> None:
    hours, minutes, half = re.findall(r"(\d+):(\d+) ([AP]M)", desk.goal)[0]
    x1, y1, _, y2 = desk.box("$q('#tt')")
    desk.type_at(x1 + 6, (y1 + y2) / 2, f"{int(hours):02}{minutes}{half}")
    desk.click(SUBMIT)


def fill_search_form(desk: Desk) -> None:
    genre, director, year = re.findall(r"for (.*) movies directed by (.*) from year (\d+)", desk.goal)[0]
    row = "$near(e, 'p, tr, .row, .field, .ui-entry').textContent"
    for label, text in (("Director", director), ("Year|Date", year), ("Genre", genre)):
        desk.type(f"$all('#area input[type=text]').find(e => /{label}/.test({row}))", text)
    desk.click("$q('#area button, #area .final, #area .ui-submit')")


def use_terminal(desk: Desk) -> None:
    desk.click("$q('#terminal')")
    for character in "ls":
        desk.key(character)
    desk.key("enter")
    files = desk.ask("$all('.terminal-output .output').pop().textContent").split()
    if "no file extension" in desk.goal:
        name = next(file for file in files if "." not in file)
    else:
        name = next(file for file in files if file.endswith(desk.find(r"extension (\S+)")))
    for character in f"rm {name}":
        desk.key("space" if character == " " else character)
    desk.key("enter")


EXPERTS = {
    "copy-paste": copy_text,
    "copy-paste-2": copy_text,
    "enter-date": enter_date,
    "enter-password": enter_password,
    "enter-text": enter_quoted,
    "enter-text-2": enter_quoted,
    "enter-text-dynamic": enter_quoted,
    "enter-time": enter_time,
    "find-word": find_word,
    "guess-number": guess_number,
    "login-user": log_in,
    "login-user-popup": log_in,
    "multi-layouts": fill_search_form,
    "multi-orderings": fill_search_form,
    "read-table": read_table,
    "read-table-2": read_table,
    "scroll-text": find_last_word,
    "simple-algebra": solve_equation,
    "simple-arithmetic": calculate,
    "terminal": use_terminal,
    "text-transform": read_captcha,
    "use-autocomplete": use_autocomplete,
    "use-autocomplete-nodelay": use_autocomplete,
    "visual-addition": count_blocks,
}
