from typing import Any

import pytest

from step3vl.data.sample import Action, Image
from step3vl.pipelines.gui.effect import describe_effect, meaning, observe_effect
from step3vl.pipelines.gui.screen import Effect, Element, Screen, TreeNode

CLICK = Action(action="click", point_2d=(1, 1))
BASE = (TreeNode("button", "Save", "", ()), TreeNode("switch", "Dark", "", ("not checked",)))


def element(role: str, name: str, **fields: Any) -> Element:
    values = {
        "index": 1, "parent": -1, "tag": "div", "type": "", "role": role, "name": name, "value": "", "states": (),
        "level": 0, "text": name, "hint": "", "label": "", "range": None,
        "icon": False, "box": (0, 0, 9, 9), "point": (1, 1),
        "whole": True, "control": True, "exact": True, "scroll": None,
    }  # fmt: skip
    return Element.model_validate({**values, **fields})


def screen(tree: tuple[TreeNode, ...] = BASE, **fields: Any) -> Screen:
    image = Image(format="png", width=100, height=100, sha256="0" * 64)
    values = {
        "image": image, "url": "https://app.invalid/", "title": "T", "elements": (), "lines": (), "tree": tree,
        "scrolled": (), "extent": (0, 100, 100),
    }  # fmt: skip
    return Screen.model_validate({**values, **fields})


def focused(node: TreeNode) -> TreeNode:
    return node._replace(states=(*node.states, "focused"))


DARK_ON = (BASE[0], BASE[1]._replace(states=("checked",)))


@pytest.mark.parametrize(
    ("after", "target", "kind", "sentence"),
    [
        (screen(title="Cart", url="https://app.invalid/#cart"), None, "page", "The page “Cart” opens."),
        (screen((*BASE, TreeNode("dialog", "Sure?", "", ()))), None, "dialog_opened", "The dialog “Sure?” opens."),
        (screen((*BASE, TreeNode("listbox", "Sort", "", ()))), None, "popup_opened", "The list of “Sort” opens."),
        (screen((*BASE, TreeNode("menu", "File", "", ()))), None, "popup_opened", "The menu “File” opens."),
        (screen((*BASE, TreeNode("text", "Done", "", ())), elements=(element("status", "", text="Done"),)), None,
         "message", "A message appears: “Done”."),
        (screen(DARK_ON), element("switch", "Dark"), "state", "“Dark” is switched on."),
        (screen((*BASE, TreeNode("text", "3 items", "", ()))), None, "content",
         "The content changes; it now says “3 items”."),
        (screen(BASE[:1]), None, "content", "Some of the content disappears."),
        (screen((focused(BASE[0]), BASE[1])), None, "focus", "“Save” receives the focus."),
        (screen(()), None, "closed", "“T” is no longer on the screen."),
        (screen(), None, "none", "Nothing changes."),
    ],
)  # fmt: skip
def test_the_most_telling_difference_is_said(after: Screen, target: Element | None, kind: str, sentence: str) -> None:
    effect = observe_effect(screen(), after, CLICK, target)
    assert effect.kind == kind
    assert describe_effect(effect, "en") == sentence
    assert describe_effect(effect, "zh") != sentence


def test_typing_scrolling_and_choosing_say_the_new_value() -> None:
    field = element("textbox", "City")
    typed = screen((*BASE, TreeNode("textbox", "City", "Oslo", ())))
    effect = observe_effect(screen((*BASE, TreeNode("textbox", "City", "", ()))), typed,
                            Action(action="type", point_2d=(1, 1), text="Oslo"), field)  # fmt: skip
    assert (effect.kind, effect.subject, effect.state) == ("value", "City", "Oslo")
    effect = observe_effect(screen(), screen(extent=(50, 200, 100)), Action(action="scroll", direction="down"), None)
    assert describe_effect(effect, "en") == "What was below comes into view."
    opened = screen((*BASE, TreeNode("listbox", "Sort", "", ()), TreeNode("option", "Price", "", ())))
    effect = observe_effect(opened, screen(), CLICK, element("option", "Price"))
    assert describe_effect(effect, "en") == "“Sort” is set to “Price”."


def test_choice_in_a_menu_is_told_by_what_it_changes_and_else_by_the_end_of_the_menu() -> None:
    opened = screen((*BASE, TreeNode("menu", "View", "", ()), TreeNode("menuitem", "Zoom", "", ())))
    zoom = element("menuitem", "Zoom")
    assert observe_effect(opened, screen(), CLICK, zoom).kind == "popup_closed"
    assert observe_effect(opened, screen(DARK_ON), CLICK, zoom).kind == "popup_closed"  # in another state, not new
    assert observe_effect(opened, screen((*BASE, TreeNode("text", "200 %", "", ()))), CLICK, zoom).kind == "content"


def test_link_within_the_page_scrolls_it() -> None:
    before, after = screen(extent=(500, 900, 100)), screen(url="https://app.invalid/#a", extent=(50, 900, 100))
    effect = observe_effect(before, after, CLICK, element("link", "Top"))
    assert describe_effect(effect, "en") == "What was above comes into view."
    other = screen((*BASE, TreeNode("heading", "Cart", "", ())), url="https://app.invalid/#cart")
    assert observe_effect(screen(), other, CLICK, None).kind == "page"


def test_focus_is_no_state() -> None:
    assert screen().state() == screen((focused(BASE[0]), BASE[1])).state()
    assert screen().state() != screen(DARK_ON).state()


@pytest.mark.parametrize(
    ("effect", "english", "chinese"),
    [
        (Effect(kind="value", state="4"), "It is set to “4”.", "它变为“4”。"),
        (Effect(kind="state", state="checked"), "It is switched on.", "它被打开。"),
        (Effect(kind="popup_opened", state="menu"), "A menu opens.", "打开一个菜单。"),
        (Effect(kind="popup_opened", state="listbox"), "A list opens.", "展开一个列表。"),
        (Effect(kind="dialog_closed"), "The dialog closes.", "对话框关闭。"),
    ],
)
def test_what_has_no_name_is_not_quoted(effect: Effect, english: str, chinese: str) -> None:
    assert (describe_effect(effect, "en"), describe_effect(effect, "zh")) == (english, chinese)


def test_a_list_that_closes_and_its_field_that_closes_mean_the_same() -> None:
    closed = Effect(kind="popup_closed", subject="Sort by")
    assert meaning(closed) == meaning(Effect(kind="state", subject="Sort by", state="not expanded"))
    assert meaning(closed) != meaning(Effect(kind="popup_opened", subject="Sort by"))
    assert meaning(closed) != meaning(Effect(kind="popup_closed", subject="Category"))


def test_what_was_behind_a_dialog_is_no_message_when_it_closes_and_neither_is_a_result() -> None:
    dialog = TreeNode("dialog", "Sure?", "", ("modal",))
    before = screen((dialog,), elements=(element("", "", text="50"), element("", "", text="Saved")))
    after = screen(BASE, elements=(element("status", "", text="50"), element("status", "", text="Saved")))
    assert observe_effect(before, after, CLICK, None).kind == "dialog_closed"
    result = screen((*BASE, BASE[0]), elements=(element("status", "", text="60", tag="output"),))
    assert observe_effect(screen(), result, CLICK, None).kind == "content"
