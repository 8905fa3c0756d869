"""What pages say of their own parts: names of classes and ids, and lines that are on many pages."""

import re
from functools import lru_cache

_MAX_NAMES = 40  # of an element that are looked at
_MAX_NAME = 80  # characters of a name that are looked at

# Names in lower case with hyphens between their words. Names that have one of these words:
_WORDS = frozenset(
    re.findall(
        r"\w+",
        """nav navi navbar navigation subnav navheader navfooter docnav menu submenu sidebar breadcrumb
        breadcrumbs footer cookie cookies consent gdpr newsletter subscribe subscription
        share sharing sharer shares social sociable
        related recommend recommended recommendation recommendations advert adverts advertisement advertising anzeige
        sponsor sponsored promo promotion paywall outbrain taboola popup modal overlay toolbar pagination pager paging
        tagcloud skiplink mostviewed mostread bookmarks rating ratings indexterm donate donation cta""",
    )
)
# And whole names:
_WHOLE = frozenset(
    re.findall(
        r"\S+",
        """ad ads adv banner foot hidden visually-hidden sr-only screen-reader-text is-hidden widget tags tag-list
        taglist post-tags entry-tags article-tags topics meta entry-meta post-meta postmeta article-meta toc headerlink
        editsection mw-editsection copyright skip-link side-bar prev-next prevnext no-print noprint d-print-none
        hide-for-print hide-print print-hidden most-popular most-read popular-posts bookmark authorbox about-author
        about-the-author more-articles more-stories more-posts read-next up-next""",
    )
)
_PARTS = re.compile(
    r"-(?:ad|ads|adv|tags|toc)$|^(?:ad|ads|adv|banner)-"
    r"|(?:^|-)author-?(?:s-)?(?:box|bio|info|card|profile|description|desc|teaser|block)(?:$|-)"
)
_TEASER = re.compile(r"(?:^|-)(?:teasers?|teaserlist|snippet|more-posts?)(?:$|-)")
_COMMENTS = re.compile(
    r"(?:^|-)(?:comments?|commentlist|kommentare?|commentaires?|comentarios?|disqus|respond)(?:$|-)"
)
# `has-sidebar`, `tag-social` and `field-label-hidden` tell of something else than the element that they name, and a
# `content-sidebar-wrap` holds more than its sidebar.
_ABOUT_OTHERS = re.compile(r"^(?:has|no|with|without|tag|category|cat|type|label|format|is-layout|page-node|field)-")
_WRAPPER = re.compile(r"(?:wrap|wrapper|main|content|page|layout|row|body|article)$")
_BODY = re.compile(
    r"^(?:(?:js|c|l|m|o|u)-)?(?:entry|post|article|art|story|page|news|blog|single|field-name|field|text)-{0,2}"
    r"(?:-?name-)?(?:content|body|text|entry|bodytext|bodycopy)$|^(?:articlebody|bodytext|body-text|text-content)$"
)
_BETWEEN_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|_+")

_SHORT = 120  # characters up to which a line may be boilerplate
_LINE = re.compile(
    r"(?:share(?: (?:this|on|via)\b.*)?|tweet|advertisements?|sponsored(?: content)?|"
    r"read (?:more|next).*|continue reading.*|click (?:here|to enlarge).*|"
    r"see also:?|(?:©|copyright|\(c\)) .*|all rights reserved.*|sign (?:up|in).*|"
    r"log ?in.*|subscribe.*|loading\W*|skip to .*|back to top|next|prev(?:ious)?|menu|print(?: this page)?|"
    r"leave a (?:reply|comment).*|powered by .*|posted (?:by|on|in) .*|"
    r"(?:上|下)一[篇页页].*|相关(?:阅读|推荐|文章|新闻|链接).*|责任编辑.*|(?:本文)?来源[::].*|"
    r"扫(?:描|一扫).*(?:二维码|关注).*|点击(?:查看|阅读|关注).*|版权所有.*|.*转载请注明.*|分享(?:到|至).*|返回(?:顶部|首页).*|"
    r"广告|.*ICP备.*号.*|推荐阅读.*|"
    # Headings above links to other pages, tags and credits.
    r"(?:related|recommended)(?: \w+){0,3}|(?:more|read) (?:on|from|about|also)\b.*|also read\b.*|explore further|"
    r"further reading|you (?:may|might) (?:also )?(?:like|enjoy).*|more (?:stories|articles|posts|news)\b.*|"
    r"(?:latest|recent|popular) (?:posts|articles|news|stories)|tags?|"
    r"(?:tags?|topics?|filed under|categor(?:y|ies)|tagged)\s*:.*|(?:photos?|images?|credits?|photo credits?)\s*:.*|"
    r"(?:das (?:könnte|dürfte) (?:sie|dich|euch) (?:auch )?interessieren|auch interessant|lesen sie (?:auch|mehr)|"
    r"mehr (?:zum thema|dazu|zu)|(?:zum |hier )?weiterlesen|schon gelesen|weiterführende (?:informationen|links)|"
    r"weitere (?:artikel|themen|beiträge|informationen|meldungen|nachrichten)|empfohlene (?:artikel|beiträge)|"
    r"(?:aktuelle|aktuellste|ähnliche|verwandte|neueste) (?:artikel|beiträge|themen\w*)|jetzt teilen|"
    r"(?:diesen )?artikel teilen|kommentare? (?:hinzufügen|schreiben|geschlossen))\b.*|"
    r"(?:themen|schlagw(?:ort|orte|örter)|kategorien?|fotos?|bild(?:quelle)?|fotocredit|quelle)\s*(?::|via).*|"
    r"(?:vous aimerez aussi|à lire aussi|lire aussi|sur le même (?:thème|sujet)|vos réactions|crédits? photo)\b.*|"
    r"(?:(?:también )?te puede interesar|lea también|leer más|noticias relacionadas)\b.*|"
    r"(?:leia (?:também|mais)|veja também|leggi anche|potrebbe interessarti|читайте также|смотрите также)\b.*|"
    r"(?:(?:zobacz|czytaj|przeczytaj) (?:także|też|również|więcej)|więcej informacji)\b.*|"
    r"関連記事.*|あわせて読みたい.*)",
    re.IGNORECASE,
)


@lru_cache(maxsize=16384)
def names_kind(classes: str, identifier: str) -> str:
    """What an element is, by the names of its class and id.

    Args:
        classes: The attribute `class`.
        identifier: The attribute `id`.

    Returns:
        `comments`; `body` for the text of an article; `teaser`, which may be of another page or the summary of this
        one; `other` for menus, advertisements and what else is beside the body; or an empty text.
    """
    kinds = {_name_kind(name) for name in (*classes.split()[:_MAX_NAMES], identifier) if name}
    return next((kind for kind in ("comments", "body", "other", "teaser") if kind in kinds), "")


@lru_cache(maxsize=16384)
def _name_kind(name: str) -> str:
    name = name[:_MAX_NAME]
    if "_" in name or not name.islower():
        name = _BETWEEN_WORDS.sub("-", name).lower().strip("-")
    if _ABOUT_OTHERS.match(name):
        return "body" if _BODY.match(name) else ""
    if _COMMENTS.search(name):
        return "comments"
    if _BODY.match(name):
        return "body"
    if name in _WHOLE or _PARTS.search(name):
        return "other"
    if _TEASER.search(name):
        return "teaser"
    return "other" if not _WORDS.isdisjoint(name.split("-")) and not _WRAPPER.search(name) else ""


def is_boilerplate_line(text: str) -> bool:
    """Whether a line is one that stands around the texts of many pages."""
    return len(text) <= _SHORT and _LINE.fullmatch(text) is not None
