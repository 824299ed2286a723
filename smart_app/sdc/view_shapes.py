"""A form as it is shown now: only what is enabled and not hidden, in order, with all that a template needs."""

from __future__ import annotations

import msgspec

from smart_app.sdc.filling import Author, Note, Origin
from smart_app.sdc.shapes import Fragment, ItemType, Link, Notice


class Problem(msgspec.Struct, frozen=True):
    """Something wrong with one answer. ``key`` is its item's, empty for the form as a whole.

    ``severity``: ``error`` blocks completion, ``warning`` never does. ``code`` is from a closed list (see
    ``validate``). ``text`` is a sentence for the person who answers.
    """

    key: str
    severity: str
    code: str
    text: str


class OptionView(msgspec.Struct, frozen=True):
    """One offered answer. ``key`` is what the form field sends; ``selected`` whether it is chosen now."""

    key: str
    display: str
    html: str = ""
    prefix: str = ""
    selected: bool = False
    exclusive: bool = False
    suggested: bool = False


class AnswerView(msgspec.Struct, frozen=True):
    """One answer as it is shown. ``entry`` is the text of its form field, ``text`` what a person reads.

    ``unit`` stands beside an amount, ``zone`` (as ``+01:00``) beside a moment. ``listed``: it is one of the options.
    ``replaced`` are the texts of the prefilled answers that a person put this in place of.
    """

    value: Fragment
    entry: str
    text: str
    unit: str = ""
    zone: str = ""
    listed: bool = False
    origin: Origin | None = None
    author: Author | None = None
    notes: tuple[Note, ...] = ()


class UnitView(msgspec.Struct, frozen=True):
    """One unit that is offered with a quantity."""

    code: str
    display: str


class ItemView(msgspec.Struct, frozen=True):
    """One item as it is shown.

    ``control`` is a closed list: group, row-group, display, text, textarea, integer, decimal, date, datetime, time,
    url, radio, checkbox, select, autocomplete, file, quantity, reference.
    ``write_in``: a text beside the options is allowed (open-choice), which the form may call by ``open_label``.
    ``search``: the value set to search by ``$expand``, empty when all options are here.
    ``rows``: for row-group the items of each row. ``value_known``: read-only answers are text.
    """

    key: str
    link_id: str
    type: ItemType
    control: str
    text: str = ""
    html: str = ""
    short_text: str = ""
    prefix: str = ""
    required: bool = False
    repeats: bool = False
    read_only: bool = False
    level: int = 0
    category: str = ""
    orientation: str = ""
    columns: bool = False
    answers: tuple[AnswerView, ...] = ()
    replaced: tuple[AnswerView, ...] = ()
    options: tuple[OptionView, ...] = ()
    option_note: str = ""
    write_in: bool = False
    open_label: str = ""
    search: str = ""
    suggestions: tuple[OptionView, ...] = ()
    units: tuple[UnitView, ...] = ()
    unit_open: bool = False
    unit_text: str = ""
    help_text: str = ""
    help_html: str = ""
    links: tuple[Link, ...] = ()
    entry_format: str = ""
    low: str = ""
    high: str = ""
    step: str = ""
    max_length: int | None = None
    accept: tuple[str, ...] = ()
    max_bytes: int | None = None
    reference_types: tuple[str, ...] = ()
    signature_required: bool = False
    problems: tuple[Problem, ...] = ()
    notices: tuple[Notice, ...] = ()
    enabled: bool = True
    rows: tuple[tuple[ItemView, ...], ...] = ()
    row_keys: tuple[str, ...] = ()
    can_add: bool = False
    can_remove: bool = False
    items: tuple[ItemView, ...] = ()
    raw: Fragment = {}


class FormView(msgspec.Struct, frozen=True):
    """The form as it is shown. ``ready``: nothing blocks completion, though nobody is forced to complete (AP-19).

    ``open_items`` are keys of what must be answered and is not, in order: enabled questions, and groups without an
    answer. ``dropped`` are keys whose answers are kept but not sent, because the item is not enabled any more (SD-08).
    """

    title: str
    items: tuple[ItemView, ...]
    problems: tuple[Problem, ...] = ()
    notices: tuple[Notice, ...] = ()
    open_items: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    answered: int = 0
    questions: int = 0
    ready: bool = False
