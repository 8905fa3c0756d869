"""White space of a tree of `markup`: collapsed as a browser does, at the ends of elements moved out of them."""

import re
from typing import Any, TypeAlias

from lxml import etree

Element: TypeAlias = Any
"""Of lxml, which has no types."""

VOID = ("br", "hr", "img")
SPACE = re.compile(r"[ \t\r\n\f\u00a0\u2000-\u200a\u202f\u3000]+")
_ZERO_WIDTH = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad\ufe0e\ufe0f]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd\ufffe\uffff]")


def printable(text: str) -> str:
    """Text without characters that nobody sees."""
    return _CONTROLS.sub("", _ZERO_WIDTH.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def say(target: Element, text: str | None) -> None:
    """Append text, its white space collapsed."""
    if not text:
        return
    text = SPACE.sub(" ", printable(text))
    if len(target):
        last = target[-1]
        last.tail = (last.tail or "") + text
    else:
        target.text = (target.text or "") + text


def break_line(target: Element) -> None:
    """A line break, unless nothing is before it or another one is."""
    if len(target):
        last = target[-1]
        if not (last.tail or "").strip() and last.tag == "br":
            return
    elif not (target.text or "").strip():
        return
    etree.SubElement(target, "br")


def tidy(block: Element) -> bool:
    """Strip the ends of a block and remove what is empty in it. Returns whether it still says something."""
    changed = True
    while changed:
        changed = False
        for element in list(block.iterdescendants()):
            if element.tag not in VOID and not len(element) and not (element.text or "").strip():
                _remove(element, element.text)
                changed = True
            elif element.tag not in VOID and element.tag != "code":
                changed |= _move_spaces(element)
    while len(block) and block[-1].tag == "br" and not (block[-1].tail or "").strip():
        _remove(block[-1])
    while len(block) and block[0].tag == "br" and not (block.text or "").strip():
        _remove(block[0])
    if block.text:
        block.text = block.text.lstrip()
    if len(block):
        last = block[-1]
        last.tail = (last.tail or "").rstrip() or None
    elif block.text:
        block.text = block.text.rstrip()
    for element in block.iter():
        for name in ("text", "tail"):
            value = getattr(element, name)
            if (value and element.tag != "code") or (value and name == "tail"):
                setattr(element, name, SPACE.sub(" ", value))
    for line in block.iter("br"):
        line.tail = (line.tail or "").lstrip() or None
        _strip_before(line)
    _collapse_seams(block)
    return bool(len(block) or (block.text or "").strip())


def _strip_before(element: Element) -> None:
    previous, parent = element.getprevious(), element.getparent()
    if previous is not None:
        previous.tail = (previous.tail or "").rstrip() or None
    elif parent is not None and parent.text:
        parent.text = parent.text.rstrip() or None


def _collapse_seams(block: Element) -> None:
    """One space where one ends an element's text before and another begins the next."""
    ends_in_space = True
    for event, element in etree.iterwalk(block, events=("start", "end")):
        name = "text" if event == "start" else "tail"
        if event == "end" and element is block:
            break
        if event == "start" and element.tag in ("img", "code"):
            ends_in_space = False
            continue
        value = getattr(element, name)
        if value and ends_in_space and value.startswith(" "):
            value = value.lstrip(" ") or None
            setattr(element, name, value)
        if value:
            ends_in_space = value.endswith(" ")
        if element.tag == "br" and event == "start":
            ends_in_space = True


def _move_spaces(element: Element) -> bool:
    """Spaces and line breaks at the ends of an inline element go outside of it. Returns whether there were some."""
    moved = False
    if len(element) and element[-1].tag == "br" and not (element[-1].tail or "").strip():
        line = element[-1]
        line.tail, element.tail = element.tail, None
        element.addnext(line)
        moved = True
    if len(element) and element[0].tag == "br" and not (element.text or "").strip():
        line = element[0]
        element.text, line.tail = line.tail, None
        element.addprevious(line)
        moved = True
    if element.text and element.text[0] == " ":
        element.text = element.text.lstrip(" ")
        _insert_before(element, " ")
        moved = True
    holder, name = (element[-1], "tail") if len(element) else (element, "text")
    value = getattr(holder, name)
    if value and value[-1] == " ":
        setattr(holder, name, value.rstrip(" ") or None)
        element.tail = " " + (element.tail or "")
        moved = True
    return moved


def _insert_before(element: Element, text: str) -> None:
    previous, parent = element.getprevious(), element.getparent()
    if previous is not None:
        previous.tail = (previous.tail or "") + text
    elif parent is not None:
        parent.text = (parent.text or "") + text


def _remove(element: Element, text: str | None = None) -> None:
    """Remove an element and leave its text and what follows it."""
    parent = element.getparent()
    assert parent is not None
    _insert_before(element, (text or "") + (element.tail or ""))
    element.tail = None
    parent.remove(element)
