"""What is recorded: screens with their elements, actions with their observed effects."""

import hashlib
import json
from typing import Literal, NamedTuple

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Action, Box, Image

MilliPoint = tuple[int, int]
Pixels = tuple[float, float, float, float]

CONTROL_ROLES = frozenset({
    "button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "switch", "tab", "menuitem",
    "menuitemcheckbox", "menuitemradio", "slider", "spinbutton", "option", "treeitem",
})  # fmt: skip
"""Roles of elements that can be operated."""
LANDMARKS = frozenset({
    "banner", "navigation", "main", "complementary", "contentinfo", "search", "form", "region", "dialog",
    "alertdialog", "article", "list", "table", "grid", "toolbar", "tablist", "menu", "menubar", "listbox", "tree",
    "radiogroup", "group", "figure", "row", "listitem",
})  # fmt: skip
"""Roles of elements that others are in."""


class TreeNode(NamedTuple):
    """A node of the accessibility tree: what a screen reader would say."""

    role: str
    name: str
    value: str
    states: tuple[str, ...]


class Element(Config):
    """An element of which something can be seen."""

    index: int
    """Its number in the document, which other elements name as `parent`."""
    parent: int
    """The number of the nearest visible element that it is in; -1 for none."""
    tag: str
    """The name of the element in HTML."""
    type: str
    """The `type` of an input."""
    role: str
    """Its role in the accessibility tree; empty for one that has none."""
    name: str
    """Its accessible name."""
    value: str
    """What a field contains or a slider is set to."""
    states: tuple[str, ...]
    """`checked`, `expanded`, `selected`, `pressed`, ... and `not ...` where it could be and is not."""
    level: int
    """Of a heading; 0 for others."""
    text: str
    """The text inside of it."""
    hint: str
    """What an empty field shows."""
    label: str
    """Its `aria-label`, also where an open dialog keeps it out of the accessibility tree."""
    range: tuple[float, float, float] | None
    """The least and the greatest value of a slider, and its step."""
    icon: bool
    """Whether it shows an icon and no text."""
    box: Pixels
    """x1, y1, x2, y2 of the part that can be seen, in pixels of the screen's image."""
    point: MilliPoint
    """The centre of that part, in 0..1000."""
    whole: bool
    """Whether nothing of it is cut off."""
    control: bool
    """Whether it can be operated."""
    exact: bool
    """Whether a click on the centre, or anywhere in the middle of its box, reaches this element and no other."""
    leads_out: bool = False
    """Whether it is a link to what the site does not hold, so that a click does nothing."""
    scroll: tuple[float, float, float] | None
    """Where what is in it can be scrolled: how far it is, the height of all and of what can be seen, in CSS pixels."""


class TextLine(Config):
    """A line of text as it stands on the screen."""

    text: str
    box: Pixels
    """In pixels of the screen's image."""
    element: int
    """The number of the element that the text belongs to."""
    whole: bool
    """Whether all of it can be seen."""


class Screen(Config):
    """An image of a page and all that is known about it, taken at one moment."""

    image: Image
    url: str
    title: str
    elements: tuple[Element, ...]
    """In document order."""
    lines: tuple[TextLine, ...]
    """In document order."""
    tree: tuple[TreeNode, ...]
    """The accessibility tree, in document order, also of what is not in the window."""
    scrolled: tuple[tuple[int, float, float], ...]
    """The number of each element that is scrolled, and by how much to the left and to the top."""
    extent: tuple[float, float, float]
    """How far the page is scrolled down, its height and that of the window, in CSS pixels."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self.image.width, self.image.height

    def state(self) -> str:
        """A hash of what the page holds, by which states are told apart. The focus does not count."""
        nodes = [[n.role, n.name, n.value, [s for s in n.states if s != "focused"]] for n in self.tree]
        text = json.dumps([self.url, nodes, self.scrolled, self.extent], ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    @property
    def modal(self) -> bool:
        """Whether a dialog is open that keeps all else from being operated, and out of the accessibility tree."""
        return any("modal" in node.states for node in self.tree)

    def controls(self) -> list[Element]:
        """The elements that can be operated and that a click reaches."""
        return [e for e in self.elements if e.control and e.exact and e.role in CONTROL_ROLES]

    def box_of(self, element: "Element | TextLine") -> Box:
        """The typed box of an element or a line."""
        x1, y1, x2, y2 = element.box
        width, height = self.size
        return Box(max(0.0, x1), max(0.0, y1), min(x2, width), min(y2, height), "pixels", self.size)

    def ancestors(self, element: Element) -> list[Element]:
        """The visible elements around an element, the nearest first."""
        by_index = {e.index: e for e in self.elements}
        chain = []
        while (parent := by_index.get(element.parent)) is not None:
            chain.append(parent)
            element = parent
        return chain


EffectKind = Literal[
    "page", "dialog_opened", "dialog_closed", "popup_opened", "popup_closed", "message", "state", "value", "content",
    "scrolled", "focus", "closed", "none",
]  # fmt: skip


class Effect(Config):
    """What an action was seen to do: the difference of two screens."""

    kind: EffectKind
    """The most telling difference."""
    subject: str = ""
    """What it happened to: a page, a dialog or an element by its name, a message by its text."""
    state: str = ""
    """For `state`: the new state; for `value`: the new value; for `scrolled`: the direction; for `popup_opened`: the
    role, `menu` or `listbox`."""
    url: str = ""
    """The new address, where it changed."""
    added: int = 0
    """Nodes of the accessibility tree that appeared."""
    removed: int = 0
    """Nodes that disappeared."""
    samples: tuple[str, ...] = ()
    """Texts of the first nodes that appeared."""


class Step(Config):
    """An action, and the screens before and after it."""

    before: int
    """Number of the screen on which it is performed."""
    action: Action
    target: int | None = None
    """The number of the element that it is performed on, of `Screen.elements`' `index`."""
    start_box: Pixels | None = None
    """Where it begins, in pixels: the handle of a slide, or where a click counts that is not meant for all of an
    element."""
    end_box: Pixels | None = None
    """For a slide: where it may end with the same effect, in pixels."""
    after: int
    """Number of the screen that it leads to."""
    effect: Effect


EpisodeKind = Literal["task", "explore", "walk"]


class Episode(Config):
    """What was recorded of one page: screens, and the steps between them.

    The steps of a `task` and a `walk` follow each other; those of `explore` begin wherever the explorer returned to.
    """

    kind: EpisodeKind
    page: str
    """The key of the page."""
    licence: str
    language: str
    view: dict[str, str]
    """How it was shown, for the record."""
    screens: tuple[Screen, ...]
    steps: tuple[Step, ...] = ()
    goal: dict[str, str] = Field(default_factory=dict)
    """For a task: what is to be done, by language."""
    answer: str = ""
    """For a task that asks for something: the answer."""


def target_of(episode: Episode, step: Step) -> Element | None:
    """The element that a step is performed on."""
    if step.target is None:
        return None
    return next(e for e in episode.screens[step.before].elements if e.index == step.target)
