"""Rich text of strangers, reduced to what cannot act: no script, no style, nothing fetched from anywhere (row 110)."""

from __future__ import annotations

import re

import nh3

MAX_CHARACTERS = 100_000

_TAGS = frozenset(
    {
        *("a", "abbr", "b", "blockquote", "br", "cite", "code", "dd", "div", "dl", "dt", "em", "hr", "i", "img", "li"),
        *("ol", "p", "pre", "q", "s", "small", "span", "strong", "sub", "sup", "u", "ul", "h3", "h4", "h5", "h6"),
        *("caption", "col", "colgroup", "table", "tbody", "td", "tfoot", "th", "thead", "tr"),
    }
)
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "*": {"lang", "dir"},
}
_DATA_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*\Z")
_WEB = re.compile(r"https?://", re.IGNORECASE)


def _attribute(tag: str, name: str, value: str) -> str | None:
    if tag == "img" and name == "src":
        return value if _DATA_IMAGE.match(value) else None
    if tag == "a" and name == "href":
        return value if _WEB.match(value) else None
    return value


def sanitised(text: object) -> str:
    """The harmless part of an XHTML text, empty for anything that is none or is beyond MAX_CHARACTERS."""
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        return ""
    return nh3.clean(
        text,
        tags=set(_TAGS),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        attribute_filter=_attribute,
        url_schemes={"http", "https", "data"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    ).strip()
