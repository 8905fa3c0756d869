"""Experts of small applications: mail, posts, contacts, a shop, a search, flights, forms."""

import re

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.miniwob.clicking import SUBMIT
from step3vl.pipelines.gui.miniwob.desk import Desk

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def use_mail(desk: Desk) -> None:
    """Delete, star, reply to or forward a mail, whichever way the goal says it."""
    names = desk.ask("[...new Set($all('#main .email-sender').map(e => e.textContent))]")
    goal = desk.goal
    fields = desk.ask("window.core.currentFields ?? null")
    if fields and "to" in fields and fields["to"]:
        _forward(desk, fields["by"], fields["to"])
        return
    if fields and "by" in fields:
        sender = fields["by"]
    else:
        match = re.search(r"by (\S+?),? and", goal)
        sender = match[1] if match else next((name for name in names if name in goal), "")
    if re.search(r"delete|trash", goal, re.IGNORECASE):
        desk.click(_icon(sender, "trash"))
    elif re.search(r"star|important", goal, re.IGNORECASE):
        desk.click(_icon(sender, "star"))
    elif re.search(r"reply|respond", goal, re.IGNORECASE):
        _open(desk, sender)
        desk.click("$q('.email-reply')")
        desk.type("$q('#reply-text')", desk.quoted()[0])
        desk.click("$q('#send-reply')")
    else:
        _forward(desk, sender, desk.find(r"forward that email to (\S+?)\.?$"))


def _thread(sender: str) -> str:
    return f"$all('#main .email-thread').find(e => e.querySelector('.email-sender').textContent === {sender!r})"


def _icon(sender: str, name: str) -> str:
    return f"{_thread(sender)}.querySelector('.{name}')"


def _open(desk: Desk, sender: str) -> None:
    desk.click(f"{_thread(sender)}.querySelector('.email-subject')")


def _forward(desk: Desk, sender: str, receiver: str) -> None:
    _open(desk, sender)
    desk.click("$q('.email-forward')")
    desk.type("$q('.forward-sender')", receiver)
    desk.click("$q('#send-forward')")


_POST = "$all('.media').filter(e => e.querySelector('.username').textContent === '{user}')"
_POST_BUTTONS = {"Reply": "reply", "Retweet": "retweet", "Like": "like", "Share": "share"}


def use_posts(desk: Desk) -> None:
    """One button of one post, which may be in its menu."""
    user, label = desk.find(r"user (@\S+),"), desk.quoted()[0]
    post = f"{_POST.format(user=user)}[0]"
    if label in _POST_BUTTONS:
        for _ in range(2):  # the image that the pointer brings up may come too late for the first click
            if not desk.done:
                desk.click(f"{post}.querySelector('.{_POST_BUTTONS[label]}')")
        return
    desk.click(f"{post}.querySelector('.more')")
    desk.click(f"[...{post}.querySelectorAll('li')].find(e => e.textContent.startsWith({label!r}))")


def use_posts_of(desk: Desk) -> None:
    """A button of all posts of somebody, or of some of them."""
    user, button = desk.find(r"by (@\S+)"), _POST_BUTTONS[desk.quoted()[0]]
    posts = _POST.format(user=user)
    some = re.search(r"on (\d+) posts?", desk.goal)
    for number in range(int(some[1]) if some else desk.ask(f"{posts}.length")):
        desk.click(f"{posts}[{number}].querySelector('.{button}')")
    desk.click(SUBMIT)


def use_contacts(desk: Desk) -> None:
    name, field = re.findall(r"Find (\S+) in .* their (\w+)", desk.goal)[0]
    for _ in range(20):
        if desk.ask(f"$q('#contact .name').textContent === {name!r}"):
            desk.click(f"$q('#contact .{field}')")
            return
        desk.click("$q('.next a')")
    raise Dropped("element_not_there")


def order_food(desk: Desk) -> None:
    if "one of each" in desk.goal:
        items = [(name, 1) for name in desk.find(r"each item: (.*)").split(", ")]
    else:
        count, kind = int(desk.find(r"Order (\d+)")), desk.find(r"that are (.*)").strip()
        item = f"$all('.food-item').find(e => [...e.querySelectorAll('img')].some(i => i.alt === {kind!r}))"
        name = desk.ask(f"{item}.dataset.item")
        items = [(name, count)]
    for name, count in items:
        for _ in range(count):
            desk.click(f"$all('.food-item').find(e => e.dataset.item === {name!r}).querySelector('.add')")
    desk.click("$q('#submit-order button')")


def use_search_engine(desk: Desk) -> None:
    number = int(desk.find(r"the (\d+)\w\w search result"))
    desk.type("$q('#search-text')", desk.quoted()[0])
    desk.click("$q('#search')")
    results = desk.ask("$all('#page-content a').length")
    page, rank = divmod(number - 1, results)
    if page:
        desk.click(f"$text('#pagination a', '{page + 1}')")
    desk.click(f"$all('#page-content a')[{rank}]")


def choose_date(desk: Desk, submit: str = SUBMIT) -> None:
    month, day, year = (int(part) for part in re.findall(r"(\d+)/(\d+)/(\d+)", desk.goal)[0])
    desk.click("$q('#datepicker')")
    for _ in range(13):
        name, year_text = desk.ask("[$q('.ui-datepicker-month').textContent, $q('.ui-datepicker-year').textContent]")
        ahead = 12 * (year - int(year_text)) + month - 1 - _MONTHS.index(name)
        if not ahead:
            break
        desk.click(f"$q('.ui-datepicker-{'next' if ahead > 0 else 'prev'}')")
    desk.click(f"$text('.ui-datepicker-calendar a', '{day}')")
    desk.click(submit)


def book_flight(desk: Desk) -> None:
    start, end = re.findall(r"from: (.*) to: (.*) on", desk.goal)[0]
    for field, place in (("#flight-from", start), ("#flight-to", end)):
        desk.type(f"$q('{field}')", place)
        for _ in range(3):
            if desk.ask("$all('.ui-menu-item').some(e => e.getClientRects().length)"):
                break
            desk.wait()
        desk.click(f"$all('.ui-menu-item').find(e => e.getClientRects().length && e.textContent.includes({place!r}))")
    choose_date(desk, "$q('#search')")
    by = "price" if "cheapest" in desk.goal else "duration"
    values = [int(value) for value in desk.ask(f"$all('.flight [data-{by}]').map(e => e.dataset.{by})")]
    desk.click(f"$all('.flight-price')[{values.index(min(values))}]")


def fill_form(desk: Desk) -> None:
    """A radio button and a numbered text field."""
    button = desk.find(r"(\d)\w\w radio button")
    number, place = re.findall(r'number "(-?\d+)" into the (\d)', desk.goal)[0]
    desk.click(f"$all('[type=radio]')[{int(button) - 1}]")
    desk.type(f"$q('#input-{place}')", number)
    desk.click(SUBMIT)


def choose_from_dropdown(desk: Desk) -> None:
    item = desk.find(r"Choose (.*) from the dropdown")
    desk.click("$q('.selectric')")
    desk.click(f"$all('.selectric-items li').find(e => e.textContent === {item!r})")
    desk.click(f"$text('#buttons button', {desk.quoted()[0]!r})")


EXPERTS = {
    "book-flight": book_flight,
    "book-flight-nodelay": book_flight,
    "choose-date": choose_date,
    "choose-date-easy": choose_date,
    "choose-date-medium": choose_date,
    "choose-date-nodelay": choose_date,
    "email-inbox": use_mail,
    "email-inbox-delete": use_mail,
    "email-inbox-forward": use_mail,
    "email-inbox-forward-nl": use_mail,
    "email-inbox-forward-nl-turk": use_mail,
    "email-inbox-important": use_mail,
    "email-inbox-nl-turk": use_mail,
    "email-inbox-noscroll": use_mail,
    "email-inbox-reply": use_mail,
    "email-inbox-star-reply": use_mail,
    "form-sequence-2": fill_form,
    "form-sequence-3": choose_from_dropdown,
    "order-food": order_food,
    "phone-book": use_contacts,
    "search-engine": use_search_engine,
    "social-media": use_posts,
    "social-media-all": use_posts_of,
    "social-media-some": use_posts_of,
}
