"""A form as a page: what its templates are given."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from flask import Flask, g, render_template

from smart_app.forms.coverage_form import Opened
from smart_app.forms.layout import arrange, every, from_chart, is_hand_over
from smart_app.forms.saving import ATTESTED_BY, ATTESTED_ON
from smart_app.forms.words import kind_words, title_of, when, who
from smart_app.sdc import keys
from smart_app.sdc.response import unasked_answers
from smart_app.sdc.texts import shown
from smart_app.sdc.view_shapes import ItemView, Problem
from smart_app.web.form_desk import desk
from smart_app.web.form_pictures import pictures_of

# Offsets that are in use somewhere, for who has no script to fill in the browser's own.
_MINUTES = sorted((*range(-660, 841, 60), -570, -210, -150, 210, 270, 330, 345, 390, 525, 570, 630, 765, 825))
OFFSETS = tuple(f"{'-' if each < 0 else '+'}{abs(each) // 60:02}:{abs(each) % 60:02}" for each in _MINUTES)
_NOT_AN_ID = re.compile(r"[^A-Za-z0-9]")


def page_of(opened: Opened, *, template: str = "form.html", tried: bool = False, **more: Any) -> str:
    """The page, or its body alone; ``tried``: somebody wanted to sign, so that what is missing is an error now."""
    view = opened.view
    adaptive = bool(opened.entry.adaptive)
    layout = arrange(view, opened.form.entry_mode, (ATTESTED_BY, ATTESTED_ON), adaptive=adaptive)
    attested = set(layout.attested)
    missing = [key for key in view.open_items if key not in attested]
    problems = [each for each in view.problems if each.key not in attested]
    return render_template(
        template,
        opened=opened,
        view=view,
        layout=layout,
        missing=missing,
        dropped=[key for key in view.dropped if opened.file.filling.state(key).touched],
        unasked=[(each.question or each.link_id, shown(each.value)) for each in unasked_answers(opened.file.filling)],
        problems=_shown_problems(problems, tried=tried),
        tried=tried,
        failures={each.where: each.text for each in opened.file.failures},
        shown=lambda item: _shown_problems(item.problems, tried=tried),
        named=lambda key: _name_of(opened, keys.link_id(key)),
        item_text=lambda link_id: _name_of(opened, link_id),
        pictures=pictures_of(desk().parts, opened),
        payer=opened.payer,
        own_zone=desk().parts.registry.ehrs[g.launch.ehr].time_zone,
        offsets=OFFSETS,
        seen_links=[],
        seen_groups=[],
        **more,
    )


def _name_of(opened: Opened, link_id: str) -> str:
    item = opened.form.by_link.get(link_id)
    return (item.short_text or item.text or link_id) if item is not None else "The form"


def _has_answers(items: Iterable[ItemView]) -> bool:
    return any(item.answers for item in every(items))


def _shown_problems(problems: Iterable[Problem], *, tried: bool) -> list[Problem]:
    """What is merely not answered yet is no error until somebody wants to sign."""
    return [each for each in problems if tried or each.code != "required"]


def field_id(key: str) -> str:
    """A name for HTML out of a key."""
    return "q-" + _NOT_AN_ID.sub(lambda found: f"-{ord(found[0]):x}-", key)


def add_filters(app: Flask) -> None:
    """The words and names that templates need."""
    app.jinja_env.globals |= {
        "has_answers": _has_answers,
        "has_endpoint": lambda name: name in app.view_functions,
    }
    app.jinja_env.filters |= {
        "tojson_text": lambda value: msgspec.json.encode(value).decode(),
        "field_id": field_id,
        "kind_words": kind_words,
        "title_of": title_of,
        "when": when,
        "who": who,
    }
    app.jinja_env.tests |= {"hand_over": is_hand_over, "from_chart": from_chart}
