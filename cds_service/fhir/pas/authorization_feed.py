"""A ClaimResponse of the payer's own systems as authorizations on file (import as NDJSON, and the FHIR feed).

Taken is what PAS says of a line: review action, number, period, what is authorized; and from the whole, where a line
says nothing, ``preAuthRef`` and ``preAuthPeriod``. A drug is named by RxNorm; its largest daily amount and its route,
for which PAS has no place, by the extension ``authorized-therapy``. Every mistake is told, none is guessed around.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from cds_service.domain.authorization import Authorization
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import RouteGroup, Vocabulary
from cds_service.fhir.concepts import codes, dicts, number, word
from cds_service.fhir.pas import systems

THERAPY = "https://cds.example.org/fhir/StructureDefinition/authorized-therapy"
_MEMBER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_STATUS = {"A1": "active", "A6": "active", "A4": "pending", "A3": "revoked", systems.CANCELLED: "revoked"}
_UCUM = "http://unitsofmeasure.org"
_WITHDRAWN = frozenset({"cancelled", "entered-in-error"})
_NUMBER = re.compile(r"[!-~]{1,64}")
_HCPCS = re.compile(r"[A-Z0-9]{4,7}")
_NEURAXIAL = frozenset({RouteGroup.INTRATHECAL, RouteGroup.EPIDURAL, RouteGroup.INTRASPINAL})


class Mistake(msgspec.Struct, frozen=True):
    """What is wrong with one element: where (FHIRPath), and what is allowed there; never what was written."""

    where: str
    allowed: str


class Unreadable(Exception):
    """A ClaimResponse from which no authorization can be read; with every mistake."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes


def read_authorizations(resource: Mapping[str, Any], vocabulary: Vocabulary, source: str) -> tuple[Authorization, ...]:
    """The authorizations of one ClaimResponse, one for each number. A line without number says nothing of interest.

    Raises:
        Unreadable: with every mistake found; then nothing of it is taken.
    """
    reader = _Reader(resource, vocabulary, source)
    found = reader.read()
    if reader.mistakes:
        raise Unreadable(tuple(dict.fromkeys(reader.mistakes)))
    return found


class _Line(msgspec.Struct, frozen=True):
    """One ``item`` with the ``addItem`` that states what was authorized instead."""

    where: str
    item: Mapping[str, Any]
    added: tuple[Mapping[str, Any], ...]
    action: str
    number: str


class _Reader:
    def __init__(self, resource: Mapping[str, Any], vocabulary: Vocabulary, source: str) -> None:
        self._resource = resource
        self._vocabulary = vocabulary
        self._source = source
        self.mistakes: list[Mistake] = []

    def wrong(self, where: str, allowed: str) -> None:
        self.mistakes.append(Mistake(f"ClaimResponse{where}", allowed))

    def read(self) -> tuple[Authorization, ...]:
        """Everything, with mistakes collected on the way."""
        resource = self._resource
        if resource.get("resourceType") != "ClaimResponse":
            self.mistakes.append(Mistake("resourceType", "ClaimResponse"))
            return ()
        if resource.get("use") != "preauthorization":
            self.wrong(".use", "preauthorization")
        status = word(resource.get("status"))
        if status not in {"active", *_WITHDRAWN}:
            self.wrong(".status", "active, cancelled or entered-in-error")
        member = self._member()
        lines = list(self._lines())
        if not lines:
            self.wrong(".preAuthRef", "the authorization's number, here or on the review action of a line")
        found = [self._of_line(line, member, withdrawn=status in _WITHDRAWN) for line in lines]
        held = [each for each in found if each is not None]
        if len({each.number for each in held}) != len(held):
            self.wrong(".item", "one line for each number; lines of one number together as one authorization")
        return tuple(held)

    def _member(self) -> str:
        """The member's id: ``patient.identifier``, or that of the contained Patient; of several the one typed MB."""
        reference = self._resource.get("patient")
        reference = reference if type(reference) is dict else {}
        target = word(reference.get("reference"))
        contained = [
            each
            for each in dicts(self._resource.get("contained"))
            if each.get("resourceType") == "Patient" and target == f"#{each.get('id')}"
        ]
        given = [each for patient in contained for each in dicts(patient.get("identifier"))]
        if type(reference.get("identifier")) is dict:
            given = [reference["identifier"]]
        typed = [each for each in given if Code(_MEMBER_TYPE, "MB") in codes(each.get("type"))]
        values = {word(each.get("value")) for each in (typed or given)}
        value = values.pop() if len(values) == 1 else ""
        if not _NUMBER.fullmatch(value):
            self.wrong(".patient", "one identifier: the member id (type MB), here or on a contained Patient")
        return value

    def _lines(self) -> Iterator[_Line]:
        """Lines that name a number; where none does, all of them under ``preAuthRef``."""
        whole = word(self._resource.get("preAuthRef"))
        added = list(dicts(self._resource.get("addItem")))
        for at, item in enumerate(dicts(self._resource.get("item"))):
            instead = tuple(each for each in added if item.get("itemSequence") in (each.get("itemSequence") or ()))
            action, own = _review(item)
            own = own or next((found for each in instead if (found := _review(each)[1])), "")
            if own or whole:
                yield _Line(f".item[{at}]", item, instead, action, own or whole)
        if whole and not list(dicts(self._resource.get("item"))):
            yield _Line("", self._resource, (), "A1", whole)

    def _of_line(self, line: _Line, member: str, *, withdrawn: bool) -> Authorization | None:
        if withdrawn or _STATUS.get(line.action) == "revoked":
            return self._withdrawn(line, member)
        return self._authorization(line, member)

    def _withdrawn(self, line: _Line, member: str) -> Authorization:
        """Number and member are enough: the rest may have been stripped, and it must not stay in force."""
        reader = _Reader(self._resource, self._vocabulary, self._source)
        terms = reader._authorization(line, member)
        if terms is not None:
            return msgspec.structs.replace(terms, status="revoked")
        self._check_number(line)
        return Authorization(
            number=line.number,
            member_id=member,
            status="revoked",
            drugs=(),
            route="",
            start=date.min,
            end=None,
            max_daily={},
            source=self._source,
            stated=_stated(self._resource),
        )

    def _check_number(self, line: _Line) -> None:
        if not _NUMBER.fullmatch(line.number):
            self.wrong(f"{line.where}.adjudication", "a number of 1 to 64 visible ASCII characters without blanks")

    def _authorization(self, line: _Line, member: str) -> Authorization | None:
        if line.action not in _STATUS:
            self.wrong(f"{line.where}.adjudication", "a reviewAction with one of A1, A3, A4, A6")
        self._check_number(line)
        start, end = self._period(line)
        named = self._granted(line)
        drugs = self._drugs(line, named)
        daily, routes = self._therapy(line, drugs)
        services = self._services(named)
        if any(_HCPCS.fullmatch(each) is None for each in services):
            self.wrong(f"{line.where}.productOrService", "HCPCS or CPT codes: 4 to 7 capital letters and digits")
        if not drugs and not services:
            self.wrong(f"{line.where}.productOrService", "a drug of the guideline by RxNorm, or a HCPCS or CPT code")
        if self.mistakes or start is None:
            return None
        return Authorization(
            number=line.number,
            member_id=member,
            status=_STATUS[line.action],
            drugs=drugs,
            route=routes.pop() if len(routes) == 1 else "",
            start=start,
            end=end,
            max_daily=daily,
            codes=() if drugs else services,
            billing=services,
            source=self._source,
            services_only=not drugs,
            stated=_stated(self._resource),
        )

    def _granted(self, line: _Line) -> list[Code]:
        """The products that are authorized: those of ``addItem``, else of ``itemAuthorizedDetail``, else of the line.

        What was asked for is not authorized where something else is. Its RxNorm codes still tell the drug where what is
        authorized is a billing code alone, and the same one.
        """
        asked = list(_products(line.item))
        instead = list(line.added) or _details(line.item)
        named = [code for each in instead for code in _products(each)]
        if not named:
            return asked
        rxnorm = self._vocabulary.systems.get("rxnorm", ())
        if any(code.system in rxnorm for code in named) or any(
            _coding(part) for each in line.added for part in _named(_therapies_of(each), "drug")
        ):
            return named
        billed, of_line = set(self._services(named)), set(self._services(asked))
        same = billed <= of_line if of_line or line.action == "A6" else True
        return named + [code for code in asked if same and code.system in rxnorm]

    def _services(self, named: list[Code]) -> tuple[str, ...]:
        lists = {uri for name in ("hcpcs", "cpt") for uri in self._vocabulary.systems.get(name, ())}
        return tuple(dict.fromkeys(each.code for each in named if each.system in lists))

    def _period(self, line: _Line) -> tuple[date | None, date | None]:
        places = [*(_extension(each, "itemPreAuthPeriod", "valuePeriod") for each in (*line.added, line.item))]
        period = next((each for each in [*places, self._resource.get("preAuthPeriod")] if type(each) is dict), {})
        start, end = _day(period.get("start")), _day(period.get("end"))
        if start is None or ("end" in period and end is None) or (end is not None and end < start):
            self.wrong(".preAuthPeriod", "start, and an end not before it if any: dates, here or on the line")
        return start, end

    def _drugs(self, line: _Line, named: list[Code]) -> tuple[str, ...]:
        """Guideline names of the RxNorm codes; a code of another drug is a mistake, not a drug less."""
        rxnorm = frozenset(self._vocabulary.systems.get("rxnorm", ()))
        found: dict[str, None] = {}
        stated = [code for code in named if code.system in rxnorm]
        stated += [code for part in _parts(line, "drug") for code in _coding(part)]
        for code in stated:
            names = self._names(code)
            if not names:
                self.wrong(f"{line.where}.productOrService", "drugs of the guideline by their RxNorm code")
            found |= dict.fromkeys(names)
        return tuple(found)

    def _names(self, code: Code) -> tuple[str, ...]:
        ingredient = self._vocabulary.ingredients.get(code)
        if ingredient is not None:
            return (ingredient.name,)
        product = self._vocabulary.products.get(code)
        return tuple(part.ingredient for part in product.ingredients) if product is not None else ()

    def _therapy(self, line: _Line, drugs: tuple[str, ...]) -> tuple[dict[str, str], set[str]]:
        """Largest daily amounts and routes of ``authorized-therapy``."""
        daily: dict[str, str] = {}
        routes: set[str] = set()
        for therapy in _therapies(line):
            parts = {word(each.get("url")): each for each in dicts(therapy.get("extension"))}
            names = [name for code in _coding(parts.get("drug", {})) for name in self._names(code)]
            amount = parts.get("daily", {}).get("valueQuantity")
            if amount is not None:
                limit = _daily(amount)
                if limit is None or len(names) != 1 or names[0] not in drugs:
                    self.wrong(f"{line.where}.extension(authorized-therapy)", "one drug, and mg/d (UCUM) above zero")
                    continue
                daily[names[0]] = limit
            for code in codes(parts.get("route", {}).get("valueCodeableConcept")):
                group = self._vocabulary.routes.get(code)
                if group not in _NEURAXIAL:
                    self.wrong(f"{line.where}.extension(authorized-therapy)", "an intrathecal or epidural route")
                else:
                    routes.add(group.value)
        return daily, routes


def _review(item: Mapping[str, Any]) -> tuple[str, str]:
    """Review action and number of a line, "" where it has none."""
    for adjudication in dicts(item.get("adjudication")):
        action = _extension(adjudication, "reviewAction", "extension")
        parts = {word(each.get("url")): each for each in dicts(action)}
        code = parts.get(systems.extension("reviewActionCode"), {}).get("valueCodeableConcept")
        found = next((each.code for each in codes(code)), "")
        if found:
            return found, word(parts.get("number", {}).get("valueString"))
    return "", ""


def _extension(holder: Mapping[str, Any], name: str, value: str) -> Any:
    url = systems.extension(name)
    return next((each.get(value) for each in dicts(holder.get("extension")) if each.get("url") == url), None)


def _details(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What ``itemAuthorizedDetail`` says, as if it were a line."""
    parts = dicts(_extension(item, "itemAuthorizedDetail", "extension"))
    return [
        {"productOrService": each.get("valueCodeableConcept")}
        for each in parts
        if each.get("url") == "productOrServiceCode"
    ]


def _products(item: Mapping[str, Any]) -> tuple[Code, ...]:
    return codes(item.get("productOrService"))


def _therapies(line: _Line) -> list[dict[str, Any]]:
    """Of ``addItem`` where it says any, else of the line: what was authorized instead is not what was asked for."""
    return [each for held in line.added for each in _therapies_of(held)] or _therapies_of(line.item)


def _therapies_of(holder: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each for each in dicts(holder.get("extension")) if each.get("url") == THERAPY]


def _parts(line: _Line, name: str) -> list[dict[str, Any]]:
    return _named(_therapies(line), name)


def _named(therapies: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [part for therapy in therapies for part in dicts(therapy.get("extension")) if part.get("url") == name]


def _coding(part: Mapping[str, Any]) -> tuple[Code, ...]:
    coding = part.get("valueCoding")
    return codes({"coding": [coding]}) if type(coding) is dict else ()


def _daily(quantity: Any) -> str | None:
    """An amount per day as authorizations hold it."""
    if type(quantity) is not dict or (quantity.get("system"), quantity.get("code")) != (_UCUM, "mg/d"):
        return None
    value = quantity.get("value")
    exact = number(value)
    if exact is None or not 0 < exact < 1_000_000_000 or exact.denominator > 1_000_000_000:
        return None
    return f"{value:f} mg/d" if not isinstance(value, int) else f"{value} mg/d"


def _stated(resource: Mapping[str, Any]) -> str:
    """When the sender's system last changed it, in UTC; "" where it does not say so with a zone."""
    meta = resource.get("meta")
    try:
        moment = datetime.fromisoformat(word(meta.get("lastUpdated")) if type(meta) is dict else "")
    except ValueError:
        return ""
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if moment.tzinfo is not None else ""


def _day(value: Any) -> date | None:
    try:
        return date.fromisoformat(word(value)[:10])
    except ValueError:
        return None
