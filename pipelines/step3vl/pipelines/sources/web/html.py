"""HTML as crawlers find it: the text of any charset as a tree, and what a page says about itself."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from urllib.parse import quote, urldefrag, urljoin, urlsplit, urlunsplit

import lxml.html
from lxml import etree
from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

_START = 4096  # bytes in which a page states its charset
_META_CHARSET = re.compile(rb"<meta[^>]{0,400}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_CONTROL_BYTES = bytes((*range(9), 11, 12, *range(14, 32)))
_IMAGE_TAG = re.compile(r"<(?:img|source)\b", re.IGNORECASE)
_REST_OF_TAG = re.compile(r"""(?:[^>"']|"[^"]{0,20000}"|'[^']{0,20000}'){0,1000}+""")
_MAX_TAGS = 2000  # image tags of a page that are looked at
_ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_SRCSET = re.compile(r"\s*([^\s,]\S*[^\s,])(?:\s+([\d.]+)[wx])?\s*(?:,|$)")
_SOURCES = ("srcset", "data-srcset", "data-original", "data-src", "data-lazy-src", "data-actualsrc", "src")
_CREATIVE_COMMONS = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)", re.IGNORECASE)
_PUBLIC_DOMAIN = {"zero": "CC0", "mark": "CC-PDM"}
_OPT_OUTS = frozenset({"noai", "noimageai"})
_JSON_LICENCE = re.compile(r'"license"\s*:\s*"(https?:[^"]{1,200})"')


class HtmlError(ValueError):
    """A page that is no HTML."""


@dataclass(frozen=True)
class HtmlPage:
    """A parsed page.

    Attributes:
        tree: The `html` element.
        base: The address that relative links start from.
        licence: That the page states: an SPDX identifier for Creative Commons, or the address of another; empty
            without one.
        opts_out: Whether the page asks not to train on it or its images.
    """

    tree: lxml.html.HtmlElement
    base: str
    licence: str
    opts_out: bool


def decode_html(data: bytes, charset: str | None) -> str:
    """The text of a page.

    Valid UTF-8 is never anything else by chance, so it comes before the charset that the server or the page states;
    a stated charset that does not fit gives way to one that is detected.

    Args:
        data: The bytes of the page.
        charset: As the server states it.
    """
    if b"\x1b$" not in data:  # ISO-2022-JP is 7-bit
        try:
            text = data.translate(None, _CONTROL_BYTES).decode("utf-8-sig")
        except UnicodeDecodeError:
            pass
        else:
            return text.replace("\ufffe", "").replace("\uffff", "")
    return _CONTROLS.sub("", _decode(data, charset))


def _decode(data: bytes, charset: str | None) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    stated = [
        match[1].decode() for match in (_META_CHARSET.search(data[:_START]), _XML_CHARSET.search(data[:200])) if match
    ]
    for name in (*([charset] if charset else []), *stated):
        known = map_encoding_to_html5(name, fallback_utf8=False)
        if not known or known.lower() == "utf-8":
            continue
        text = bytes_to_str(data, known, "replace", fallback_encodings=())
        if text.count("\ufffd") * 1000 <= len(text):
            return text
    return bytes_to_str(data, detect_encoding(data) or "utf-8", "replace")


def parse_page(text: str, url: str, headers: dict[str, str] | None = None) -> HtmlPage:
    """Parse a page as browsers do, whatever is wrong with it.

    Args:
        text: Of the page.
        url: Its address.
        headers: Of the response, by lower-case name.

    Raises:
        HtmlError: There is not an element in it.
    """
    parser = lxml.html.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        tree = lxml.html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise HtmlError(f"the page is no HTML: {error}") from None
    base = next((element.get("href", "") for element in tree.iter("base") if element.get("href")), "")
    return HtmlPage(tree, join_url(url, base) or url, _licence(tree), _opts_out(tree, headers or {}))


def join_url(base: str, link: str) -> str:
    """The absolute address of a link, percent-encoded, without its fragment; empty for one that is no http address."""
    try:
        parts = urlsplit(urldefrag(urljoin(base, "".join(link.split("\n")).strip())).url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https", "file"):
        return ""
    path, query = quote(parts.path, safe="/%:@!$&'()*+,;=~"), quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    return urlunsplit((parts.scheme, parts.netloc.lower(), path, query, ""))


def image_addresses(attributes: Mapping[str, str], base: str) -> tuple[str, ...]:
    """Where an `img` or `source` element may have its image, the largest first.

    Pages that load images late keep the address in a `data-` attribute, and a placeholder in `src`. `data:` URLs are
    last, as they stand.
    """
    addresses, inline = [], []
    for name in _SOURCES:
        value = attributes.get(name, "").strip()
        if name.endswith("srcset"):
            matches = sorted(_SRCSET.findall(value[:20000]), key=lambda match: -float(match[1].strip(".") or 1))
            values = [match[0] for match in matches]
        else:
            values = [value]
        for link in values:
            if link[:5].lower() == "data:":
                inline.append(link)
            elif link and (address := join_url(base, link)):
                addresses.append(address)
    return tuple(dict.fromkeys((*addresses, *inline)))


def referenced_images(text: str, url: str) -> Iterator[str]:
    """The addresses of all images that a page names, without parsing it; some may be in comments."""
    match = re.search(r"<base\b[^>]*?href\s*=\s*[\"']?([^\"'\s>]+)", text[:20000], re.IGNORECASE)
    base = (join_url(url, match[1]) if match else "") or url
    for tag in islice(_IMAGE_TAG.finditer(text), _MAX_TAGS):
        rest = _REST_OF_TAG.match(text, tag.end())
        pairs = _ATTRIBUTE.findall(rest[0] if rest else "")
        attributes = {name.lower(): value.strip("\"'").replace("&amp;", "&") for name, value in pairs}
        yield from (address for address in image_addresses(attributes, base) if not address.startswith("data:"))


def opts_out(directives: str) -> bool:
    """Whether robots directives, those of a `meta` element or an X-Robots-Tag header, exclude training."""
    words = {word.rpartition(":")[2].strip().lower() for word in directives.split(",")}
    return bool(words & _OPT_OUTS)


def image_opts_out(directives: str) -> bool:
    """Whether an X-Robots-Tag header excludes training on the image that it comes with."""
    return opts_out(directives) or "noimageindex" in directives.lower()


def _opts_out(tree: lxml.html.HtmlElement, headers: dict[str, str]) -> bool:
    if opts_out(headers.get("x-robots-tag", "")) or headers.get("tdm-reservation", "").strip() == "1":
        return True
    for meta in tree.iter("meta"):
        name, content = (meta.get("name") or "").strip().lower(), meta.get("content") or ""
        if name == "tdm-reservation" and content.strip() == "1":
            return True
        if (name == "robots" or name.endswith("bot")) and opts_out(content):
            return True
    return False


def _licence(tree: lxml.html.HtmlElement) -> str:
    for element in tree.iter("link", "a"):
        if "license" in (element.get("rel") or "").lower().split() and element.get("href"):
            return _spdx(element.get("href", ""))
    for meta in tree.iter("meta"):
        name = (meta.get("name") or meta.get("property") or "").lower()
        if name in ("dcterms.license", "dc.rights", "dcterms.rights", "license", "cc:license") and meta.get("content"):
            return _spdx(meta.get("content", ""))
    for script in tree.iter("script"):
        if script.get("type") == "application/ld+json" and (match := _JSON_LICENCE.search(script.text or "")):
            return _spdx(match[1])
    return ""


def _spdx(stated: str) -> str:
    match = _CREATIVE_COMMONS.search(stated)
    if not match:
        return " ".join(stated.split())[:200]
    name = match[2].lower()
    return f"{_PUBLIC_DOMAIN.get(name, name.upper() if name.startswith('cc') else f'CC-{name.upper()}')}-{match[3]}"
