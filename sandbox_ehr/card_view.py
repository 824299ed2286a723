"""Cards as the page shows them: Markdown rendered and sanitised, links checked, nothing else of the payer's trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import nh3
from markdown_it import MarkdownIt

INDICATORS = {"info": "For your information", "warning": "Please check", "critical": "Stop and check"}
HOLDING = frozenset({"warning", "critical"})  # an order with such a card waits for the prescriber's word

_MARKDOWN = MarkdownIt("gfm-like", {"html": False, "linkify": True})
_TAGS = {
    "p", "ul", "ol", "li", "strong", "em", "code", "pre", "a", "hr", "blockquote", "br", "s", "del",
    "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_HEADINGS = ("h4", "h5", "h6")  # below the card's own; no level is skipped
_SCROLL = '<div class="scroll" role="region" aria-label="Table" tabindex="0"><table>'


class Link(msgspec.Struct, frozen=True):
    """Where a card leads; ``kind`` is "absolute" or "smart"."""

    label: str
    url: str
    kind: str
    app_context: str | None = None  # of a SMART link: for the app, as it is


class Reason(msgspec.Struct, frozen=True):
    """One override reason."""

    code: str
    system: str
    display: str


class Card(msgspec.Struct, frozen=True):
    """One card, ready to be shown. ``detail`` is safe HTML."""

    uuid: str
    indicator: str
    summary: str
    source: str
    source_url: str
    topic: str
    detail: str
    links: tuple[Link, ...]
    reasons: tuple[Reason, ...]
    suggestions: tuple[tuple[str, str], ...]  # (uuid, label)

    @property
    def heading(self) -> str:
        """The indicator in words: colour alone tells nobody enough."""
        return INDICATORS[self.indicator]

    @property
    def links_repeated(self) -> bool:
        """Whether the details hold every link as well: then one of the two is enough while they are open."""
        return all(f'href="{link.url}"' in self.detail for link in self.links)


def markdown(text: str) -> str:
    """GitHub-flavoured Markdown as HTML that is safe to show; headings are lowered to fit under the card's own."""
    tokens = _MARKDOWN.parse(text)
    used = sorted({token.tag for token in tokens if token.type == "heading_open"})
    lowered = {tag: _HEADINGS[min(rank, len(_HEADINGS) - 1)] for rank, tag in enumerate(used)}
    for token in tokens:
        token.tag = lowered.get(token.tag, token.tag)
    html = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return clean.replace("<table>", _SCROLL).replace("</table>", "</table></div>")


def read_cards(body: Any) -> tuple[Card, ...]:
    """The cards of a service's answer; what is not a card is left out, and most urgent come first."""
    raw = body.get("cards") if isinstance(body, dict) else None
    cards = [_card(card) for card in raw if _is_card(card)] if isinstance(raw, list) else []
    order = list(reversed(INDICATORS))
    return tuple(sorted(cards, key=lambda card: order.index(card.indicator)))


def _is_card(card: Any) -> bool:
    return (
        isinstance(card, dict)
        and isinstance(card.get("summary"), str)
        and card.get("indicator") in INDICATORS
        and isinstance(card.get("source"), dict)
    )


def _card(card: Mapping[str, Any]) -> Card:
    source = card["source"]
    detail = card.get("detail")
    topic = source.get("topic")
    return Card(
        uuid=_text(card, "uuid"),
        indicator=card["indicator"],
        summary=card["summary"],
        source=_text(source, "label"),
        source_url=_web(_text(source, "url")),
        topic=_text(topic, "display") if isinstance(topic, dict) else "",
        detail=markdown(detail) if isinstance(detail, str) else "",
        links=tuple(
            Link(_text(link, "label"), _web(_text(link, "url")), _text(link, "type"), _app_context(link))
            for link in _objects(card, "links")
            if _web(_text(link, "url"))
        ),
        reasons=tuple(
            Reason(_text(reason, "code"), _text(reason, "system"), _text(reason, "display"))
            for reason in _objects(card, "overrideReasons")
        ),
        suggestions=tuple((_text(one, "uuid"), _text(one, "label")) for one in _objects(card, "suggestions")),
    )


def _objects(value: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = value.get(name)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _app_context(link: Mapping[str, Any]) -> str | None:
    value = link.get("appContext")
    return value if isinstance(value, str) else None


def _web(url: str) -> str:
    return url if url.startswith(("https://", "http://")) else ""
