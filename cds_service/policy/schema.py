"""Shapes of the configuration files: what each may hold. ``parse_*`` turn what was read into values."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import msgspec

from cds_service.domain.determination import Decision, Program
from cds_service.domain.vocabulary import RouteGroup
from cds_service.policy.chart_sources import COURSE, KINDS_OF_SOURCE
from cds_service.policy.predicates import TEST
from cds_service.policy.prior_auth_schema import BILLING_FILE, PRIOR_AUTH_FILE
from cds_service.policy.shapes import Choice, Day, Flag, Keyed, Many, Maybe, Number, Reading, Record, Tagged, Text
from cds_service.policy.source import Node

_TEXT: Final = Text()
_LOOSE: Final = Text(empty=True)
_WORD: Final = Text(r"[a-zA-Z0-9_-]+", "a name of letters, digits, _ and -")
_ID: Final = Text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "an id of letters, digits, . _ and -, at most 64 long")
_POSITIVE: Final = Number(Fraction(0), allowed="a decimal number that is not negative")
_COUNT: Final = Number(Fraction(0), whole=True, allowed="a whole number that is not negative")
_DURATION: Final = Text(r"P[1-9][0-9]{0,3}[DWMY]", "an ISO 8601 duration such as P1M or P1Y")
_URI: Final = Text(r"(https?://|urn:)\S+", "a URI")
_ROUTE: Final = Choice(tuple(group.value for group in RouteGroup))
_PROGRAM: Final = Choice(tuple(program.value for program in Program))
_CITED: Final[dict[str, Any]] = {"cite": _TEXT, "since": Day()}
_WORDS: Final[tuple[Any, Any]] = (Many(_WORD), ())
_YES: Final = (Flag(), True)
_NO: Final = (Flag(), False)
SOURCE: Final = Tagged(lambda: {name: kind.shape for name, kind in KINDS_OF_SOURCE.items()}, "chart source")

_OPTION: Final = Record({"code": _WORD, "text": _TEXT})


class _Options(msgspec.Struct, frozen=True):
    """The name of an option set, or a list of options."""

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """See Shape."""
        return (_WORD if isinstance(node.value, str) else Many(_OPTION, 1)).read(node, where, reading)

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        return {"oneOf": [_WORD.schema(), Many(_OPTION, 1).schema()]}


_ITEM_KINDS: Final = ("choice", "decimal", "date", "text", "string", "open_choice")
_ITEM: Final = Record(
    {"name": _WORD, "type": Choice(_ITEM_KINDS), "label": _TEXT, "text": _TEXT},
    {"options": (_Options(), ()), "minimum": (Number(), None), "maximum": (Number(), None)},
)
FACT: Final = Record(
    {
        "name": _WORD,
        "type": Choice((*_ITEM_KINDS, "group")),
        "label": _TEXT,
        "text": _TEXT,
        "help": _LOOSE,
        "who": Choice(("prescriber", "nurse", "pharmacist")),
        "feeds": Many(_ID, 1),
        **_CITED,
    },
    {
        "options": (_Options(), ()),
        "unit": (_LOOSE, ""),
        "minimum": (Number(), None),
        "maximum": (Number(), None),
        "max_age_days": (_COUNT, None),
        "asked_once": _NO,
        "advisory": _NO,
        "shown": (Choice(("always", "undetermined")), "always"),
        "shown_when": (Many(Record({"fact": _WORD, "answers": Many(_WORD, 1)})), ()),
        "repeats": _NO,
        "items": (Many(_ITEM), ()),
        "prepopulated_from": (Many(_TEXT), ()),
        "detail": (Record({"code": _WORD}, {"drugs": _WORDS, "tiers": _WORDS}), None),
        "sensitive": _NO,
        "population": (Record({}, {"initial": (_LOOSE, ""), "context": (_LOOSE, "")}), None),
        "chart": (Many(SOURCE), ()),
    },
)
FACTS_FILE: Final = Record(
    {"facts": Many(FACT, 1)},
    {
        "option_sets": (Keyed(_WORD, Many(_OPTION, 1)), {}),
        "leaves_unknown": _WORDS,
        "courses": (Keyed(_WORD, COURSE), {}),
        "searches": (Keyed(_WORD, _TEXT), {}),
    },
)

POLICY_FILE: Final = Record(
    {
        "id": _ID,
        "version": _ID,
        "title": _TEXT,
        "publisher": _TEXT,
        "original": Day(),
        "reviewed": Day(),
        "effective": Day(),
        "questionnaire": Record({"canonical": _URI, "answers": _URI}),
        "scope": Record(
            {"drugs": Many(_WORD, 1), "routes": Many(_ROUTE, 1), **_CITED},
            {
                "specific_codes": _WORDS,
                "generic_codes": _WORDS,
                "beside_codes": _WORDS,
                "long_term_reasons": _WORDS,
                "long_term_codes": _WORDS,
                "injectable_forms": _WORDS,
            },
        ),
        "request": Record(
            {
                "fact": _WORD,
                "while_unknown": Many(_ID),
                "types": Many(
                    Record(
                        {"code": _WORD, "text": _TEXT, "decided_by": _ID, "reports": Many(_ID, 1), **_CITED},
                        {"stated": _YES, "flag": (_WORD, "")},
                    ),
                    1,
                ),
            }
        ),
        "criteria": Many(Record({"id": _ID, "text": _TEXT, "test": TEST, **_CITED}), 1),
        "sections": Many(
            Record(
                {"id": _ID, "title": _TEXT, "criteria": Many(_ID, 1), **_CITED},
                {"approval_duration": (Maybe(Record({"value": _DURATION, **_CITED})), None)},
            ),
            1,
        ),
    },
    {
        "until": (Maybe(Day()), None),
        "stem": (_ID, ""),
        "items": (
            Record(
                {},
                {
                    "route": (_WORD, ""),
                    "daily_dose": (_WORD, ""),
                    "concentration": (_WORD, ""),
                    "rationale": (_WORD, ""),
                    "compounded": (_WORD, ""),
                },
            ),
            None,
        ),
        "programs": (
            Many(
                Record(
                    {
                        "program": _PROGRAM,
                        "decision": Choice(tuple(each.value for each in Decision)),
                        "text": _TEXT,
                        **_CITED,
                    },
                    {
                        "flag": (_WORD, ""),
                        "subject": (_LOOSE, ""),
                        "links": (Many(Record({"label": _TEXT, "remark": _TEXT})), ()),
                    },
                )
            ),
            (),
        ),
        "statements": (
            Many(
                Record(
                    {
                        "id": _WORD,
                        "kind": Choice(("disclaimer", "precaution", "note", "footnote", "definition", "related")),
                        "text": _TEXT,
                        "quoted": Flag(),
                        **_CITED,
                    },
                    {"drugs": _WORDS},
                )
            ),
            (),
        ),
        "revisions": (Many(Record({"date": Day(), "text": _TEXT})), ()),
        "references": (Many(_TEXT), ()),
    },
)

_FACTORS: Final = Record({}, {"daily": (Maybe(_POSITIVE), None), "concentration": (Maybe(_POSITIVE), None)})
DOSING_FILE: Final = Record(
    {
        "routes": Many(_ROUTE),
        "rows": Many(
            Record(
                {
                    "drug": _WORD,
                    "printed": Record({"name": _TEXT, "vials": _LOOSE, "concentration": _LOOSE, "daily": _LOOSE}),
                    "concentration": Maybe(_POSITIVE),
                    "daily": Maybe(_POSITIVE),
                    **_CITED,
                },
                {"vials": (Many(_POSITIVE), ()), "unit_error_factor": (_FACTORS, None)},
            )
        ),
        **_CITED,
    },
    {
        "unit_exchange_factor": (Maybe(_POSITIVE), None),
        "regimens": (
            Many(
                Record(
                    {"tier": _WORD, "one_from_each": Many(Many(_WORD, 1), 1), "text": _TEXT, **_CITED},
                    {"caveats": _WORDS, "flags": _WORDS},
                )
            ),
            (),
        ),
    },
)

_LISTED: Final[dict[str, Any]] = {"code": _ID, "text": _TEXT, **_CITED}
CODING_FILE: Final = Record(
    {},
    {
        "hcpcs": (Many(Record(_LISTED, {"national": (_TEXT, "")})), ()),
        "icd10": (Many(Record(_LISTED, {"family": (_WORD, "")})), ()),
        "diagnosis_match": (Record({"flag": _WORD, "families": Keyed(_WORD, Many(_WORD, 1))}), None),
        "billing": (
            Record(
                {"compounded_code": _ID, **_CITED},
                {"certain_drugs": _WORDS, "confirm_flag": (_WORD, ""), "commercial": (Keyed(_WORD, _ID), {})},
            ),
            None,
        ),
    },
)
ANNOTATIONS_FILE: Final = Record(
    {
        "annotations": Many(
            Record(
                {"id": _WORD, "printed": _TEXT, "remark": _TEXT, **_CITED},
                {
                    "drugs": _WORDS,
                    "flag": (Text(empty=True), ""),
                    "subject": (_LOOSE, ""),
                    "shown": (Choice(("page", "card", "reviewer")), "page"),
                    "source": (_WORD, ""),
                },
            )
        )
    }
)
GUIDELINE_FILES: Final = {
    "policy.yaml": POLICY_FILE,
    "facts.yaml": FACTS_FILE,
    "dosing.yaml": DOSING_FILE,
    "coding.yaml": CODING_FILE,
    "annotations.yaml": ANNOTATIONS_FILE,
}

_MARKS: Final[dict[str, tuple[Any, Any]]] = {"unverified": _NO, "note": (_TEXT, "")}
_CODES: Final = Record({"system": _WORD, "source": _WORD, "codes": Many(_ID, 1)}, _MARKS)
SOURCES_FILE: Final = Record({"systems": Keyed(_WORD, Many(_URI, 1)), "sources": Keyed(_WORD, _TEXT)})
ROUTES_FILE: Final = Record(
    {
        "codes": Many(Record({"group": _ROUTE, "system": _WORD, "source": _WORD, "codes": Many(_ID, 1)}, _MARKS), 1),
        "words": Keyed(_ROUTE, Many(_TEXT, 1)),
    }
)
UNITS_FILE: Final = Record(
    {
        "aliases": Keyed(_TEXT, Many(_TEXT, 1)),
        "timing": Many(
            Record({"codes": Many(_ID, 1), "times": _COUNT, "days": _COUNT, "source": _WORD}, _MARKS),
        ),
    }
)
INGREDIENTS_FILE: Final = Record(
    {
        "ingredients": Many(
            Record(
                {"name": _WORD, "rxcui": _ID, "source": _WORD, "roles": Many(_WORD)},
                {
                    "strengths": (Many(Record({"mg_per_ml": Many(_POSITIVE, 1), "source": _WORD}, _MARKS)), ()),
                    "other_codes": (Many(_CODES), ()),
                    "brands": (Many(_WORD), ()),
                    "neuraxial": _YES,
                    "unverified": _NO,
                },
            ),
            1,
        )
    },
    {"other_drugs": (Many(_WORD), ())},
)
PRODUCTS_FILE: Final = Record(
    {
        "products": Many(
            Record(
                {
                    "rxcui": _ID,
                    "text": _TEXT,
                    "of": Many(Record({"name": _WORD, "mg_per_ml": Maybe(_POSITIVE)}), 1),
                    "neuraxial": Flag(),
                    "source": _WORD,
                },
                {"volume_ml": (_POSITIVE, None), "unverified": _NO},
            )
        )
    }
)
VALUE_SETS_FILE: Final = Record(
    {
        "value_sets": Many(
            Record({"name": _WORD, "title": _TEXT}, {"codes": (Many(_CODES), ()), "families": (Many(_CODES), ())}), 1
        )
    }
)
TERMINOLOGY_FILES: Final = {
    "sources.yaml": SOURCES_FILE,
    "routes.yaml": ROUTES_FILE,
    "units.yaml": UNITS_FILE,
    "ingredients.yaml": INGREDIENTS_FILE,
    "products.yaml": PRODUCTS_FILE,
}

_PA: Final = Choice(("yes", "no", "unknown"))
PAYER_FILE: Final = Record(
    {
        "names": Many(_TEXT, 1),
        "label": _TEXT,
        "programs": Many(
            Record(
                {"program": _PROGRAM},
                {
                    "class_values": (Many(_TEXT), ()),
                    "type_texts": (Many(_TEXT), ()),
                    "type_codes": (Many(Record({"system": _URI, "code": _TEXT})), ()),
                    "pa_required": (_PA, "yes"),
                    "instructions": (_LOOSE, ""),
                },
            ),
            1,
        ),
    },
    {
        "identifiers": (Many(Record({"system": _URI, "value": _TEXT})), ()),
        "generic_names": (Many(_TEXT), ()),
        "contact": (_LOOSE, ""),
        "policy_link": (_LOOSE, ""),
        "pa_required_by_plan": (Keyed(_TEXT, _PA), {}),
        "renewal": (Choice(("reviewer", "as_section_II")), "reviewer"),
        "outside_guideline": (Choice(("silent", "conditional")), "silent"),
        "dose_limit_effect": (Choice(("pend", "advise")), "pend"),
        "medicare_pa": (Choice(("conditional", "auth-needed")), "conditional"),
        "acute_care": (Record({"classes": Many(_TEXT), "categories": Many(_TEXT)}), None),
        "electronic_signature": _NO,
        "quiet_days": (_COUNT, Fraction(180)),
        "renewal_notice_days": (_COUNT, Fraction(30)),
        "review": (
            Record(
                {},
                {
                    "adverse_signers": (Many(Choice(("physician", "pharmacist")), 1), ("physician",)),
                    "second_reviewer": _NO,
                    "address": (Many(_TEXT), ()),
                    "appeal": (Many(_TEXT), ()),
                },
            ),
            None,
        ),
    },
)
FILES: Final = {
    **{f"policies/*/{name}": shape for name, shape in GUIDELINE_FILES.items()},
    **{f"terminology/{name}": shape for name, shape in TERMINOLOGY_FILES.items()},
    "terminology/value_sets/*.yaml": VALUE_SETS_FILE,
    "terminology/billing.yaml": BILLING_FILE,
    "payer.yaml": PAYER_FILE,
    "prior_auth.yaml": PRIOR_AUTH_FILE,
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema of each file, for editors; the same shapes that the loader reads with."""
    definitions = {"test": TEST.definition(), "chart_source": SOURCE.definition()}
    return {
        pattern: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": pattern,
            **shape.schema(),
            "$defs": definitions,
        }
        for pattern, shape in FILES.items()
    }
