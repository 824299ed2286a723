"""What a questionnaire is to this app: a tree of frozen items, read once and never changed.

Nothing here is HTML of a stranger: ``html`` members went through the sanitiser, every other text is data and is
escaped by whoever shows it (reliability row 110).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

Fragment = Mapping[str, Any]
"""One FHIR value with its type in the name: ``{"valueCoding": {...}}``, ``{"valueDecimal": Decimal("1.20")}``."""


class UnusableQuestionnaire(Exception):
    """The questionnaire cannot be shown or answered faithfully. ``reasons`` are sentences for a person."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        """``reasons`` hold no text of the questionnaire other than its link ids and canonicals."""
        super().__init__(" ".join(reasons))
        self.reasons = reasons


class ItemType(StrEnum):
    """``Questionnaire.item.type`` of R4."""

    GROUP = "group"
    DISPLAY = "display"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    INTEGER = "integer"
    DATE = "date"
    DATE_TIME = "dateTime"
    TIME = "time"
    STRING = "string"
    TEXT = "text"
    URL = "url"
    CHOICE = "choice"
    OPEN_CHOICE = "open-choice"
    ATTACHMENT = "attachment"
    REFERENCE = "reference"
    QUANTITY = "quantity"


class Use(StrEnum):
    """What an expression is for."""

    VARIABLE = "variable"
    INITIAL = "initialExpression"
    CALCULATED = "calculatedExpression"
    CANDIDATE = "candidateExpression"
    CONTEXT = "contextExpression"
    POPULATION = "itemPopulationContext"
    ENABLE = "enableWhenExpression"
    ANSWER = "answerExpression"
    CONSTRAINT = "targetConstraint"
    TOGGLE = "answerOptionsToggleExpression"
    BOUND = "cqf-expression"


FLOW: frozenset[Use] = frozenset({Use.ENABLE, Use.ANSWER, Use.CONSTRAINT, Use.TOGGLE, Use.BOUND})
"""Uses that decide what is asked or what is right; the others only save typing (AP-24, SD-13)."""


class Expression(msgspec.Struct, frozen=True):
    """One expression. ``where`` is the link id of its item, empty at the root."""

    use: Use
    language: str
    text: str
    name: str = ""
    where: str = ""
    label: str = ""


class Option(msgspec.Struct, frozen=True):
    """One answer that is offered. ``key`` identifies it inside its item, in a form field as in a test."""

    key: str
    value: Fragment
    display: str
    html: str = ""
    prefix: str = ""
    exclusive: bool = False
    initially: bool = False
    weight: Decimal | None = None


class EnableWhen(msgspec.Struct, frozen=True):
    """One condition. ``answer`` is the fragment to compare with; for ``exists`` a ``valueBoolean``."""

    question: str
    operator: str
    answer: Fragment


class Constraint(msgspec.Struct, frozen=True):
    """A rule that must hold. ``human`` is shown when it does not; a ``warning`` never blocks."""

    key: str
    severity: str
    human: str
    expression: Expression


class Link(msgspec.Struct, frozen=True):
    """A page that helps. Only http and https addresses become links."""

    url: str
    text: str


class Toggle(msgspec.Struct, frozen=True):
    """Options that are offered only while an expression is true."""

    keys: frozenset[str]
    expression: Expression


class Bounds(msgspec.Struct, frozen=True):
    """Limits on one answer. ``low`` and ``high`` are fragments (``valueDecimal``, ``valueDate``, ``valueQuantity``)."""

    low: Fragment | None = None
    high: Fragment | None = None
    low_expression: Expression | None = None
    high_expression: Expression | None = None
    places: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    regex: str = ""
    entry_format: str = ""
    mime_types: tuple[str, ...] = ()
    max_bytes: int | None = None


class Choices(msgspec.Struct, frozen=True):
    """Where answers of a choice, a quantity's units or a reference's targets come from.

    ``options`` are what can be offered at once. ``value_set`` is set where the list could not be read whole: it is
    searched with ``$expand`` (AP-36). ``note`` says to a person what is not offered, ``open_label`` what a free answer
    is called.
    """

    options: tuple[Option, ...] = ()
    value_set: str = ""
    note: str = ""
    open_label: str = ""
    toggles: tuple[Toggle, ...] = ()
    expression: Expression | None = None
    reference_types: tuple[str, ...] = ()
    reference_profiles: tuple[str, ...] = ()
    lookup_questionnaires: tuple[str, ...] = ()


class Units(msgspec.Struct, frozen=True):
    """Units of a quantity: the one that is set, or those offered. Each is a Coding."""

    unit: Fragment | None = None
    options: tuple[Fragment, ...] = ()
    value_set: str = ""
    open: bool = True


class Sources(msgspec.Struct, frozen=True):
    """How answers get in without typing."""

    initial: tuple[Fragment, ...] = ()
    initial_expression: Expression | None = None
    calculated: Expression | None = None
    candidates: tuple[Expression, ...] = ()
    contexts: tuple[Expression, ...] = ()
    population: Expression | None = None
    observation_period: Fragment | None = None


class Item(msgspec.Struct, frozen=True):
    """One item of the form. ``raw`` is its own JSON, for extensions that only some pages know."""

    link_id: str
    type: ItemType
    text: str = ""
    html: str = ""
    short_text: str = ""
    prefix: str = ""
    required: bool = False
    repeats: bool = False
    read_only: bool = False
    hidden: bool = False
    control: str = ""
    category: str = ""
    orientation: str = ""
    help_text: str = ""
    help_html: str = ""
    unit_text: str = ""
    links: tuple[Link, ...] = ()
    codes: tuple[Fragment, ...] = ()
    choices: Choices = Choices()
    units: Units = Units()
    bounds: Bounds = Bounds()
    sources: Sources = Sources()
    min_occurs: int | None = None
    max_occurs: int | None = None
    enable_when: tuple[EnableWhen, ...] = ()
    enable_any: bool = False
    enable_expression: Expression | None = None
    disabled_display: str = "hidden"
    variables: tuple[Expression, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    signature_required: bool = False
    terminology_servers: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    raw: Fragment = {}

    @property
    def is_question(self) -> bool:
        """Whether it can hold an answer."""
        return self.type not in {ItemType.GROUP, ItemType.DISPLAY}

    @property
    def is_row_group(self) -> bool:
        """Whether it is a group that can be there several times."""
        return self.type is ItemType.GROUP and self.repeats


class Notice(msgspec.Struct, frozen=True):
    """Something about the form itself that its user or its payer should know.

    ``code`` is from a closed list: ``cql-population``, ``cql-flow``, ``expression``, ``cycle``, ``value-set``,
    ``unsettled``. ``blocks``: the form cannot be completed here (AP-24, SD-13). No patient data (AP-25).
    """

    code: str
    text: str
    where: str = ""
    blocks: bool = False


class Form(msgspec.Struct, frozen=True):
    """A questionnaire that can be shown. ``canonical`` is ``url|version``.

    ``hidden`` are link ids of items that nobody sees, by themselves or by what holds them.
    """

    url: str
    version: str
    canonical: str
    title: str
    description: str = ""
    status: str = ""
    items: tuple[Item, ...] = ()
    by_link: Mapping[str, Item] = {}
    parents: Mapping[str, str] = {}
    variables: tuple[Expression, ...] = ()
    launch_names: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    libraries: tuple[str, ...] = ()
    adaptive: bool = False
    adaptive_url: str = ""
    entry_mode: str = ""
    signature_required: bool = False
    subject_types: tuple[str, ...] = ()
    effective: Fragment = {}
    terminology_servers: tuple[str, ...] = ()
    value_sets: Mapping[str, frozenset[tuple[str, str]]] = {}
    hidden: frozenset[str] = frozenset()
    notices: tuple[Notice, ...] = ()
    raw: Fragment = {}
