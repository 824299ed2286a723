"""A fact: the newest counting answer, what the chart proves, and where the two disagree (analysis 1.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import msgspec

from cds_service.domain.record import Answer, Evidence
from cds_service.policy.view import FactState, View

# An attestation dated in the signer's zone may be a day ahead of ours; one further ahead has not been given yet.
_ZONES = timedelta(days=1)


class Proof(msgspec.Struct, frozen=True):
    """What one chart source shows. ``contradicts``: answers that cannot stand beside it."""

    gives: str | None = None
    at_least: Fraction | None = None
    contradicts: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


class Source(msgspec.Struct, frozen=True):
    """One place of the chart where a fact may show, and the resource types it reads."""

    look: Callable[[View], Proof | None]
    types: tuple[str, ...]
    also: tuple[str, ...] = ()  # types that many EHRs do not serve: a gap only where they were asked for


class FactPlan(msgspec.Struct, frozen=True):
    """A fact prepared at load. ``shows`` holds the evidence text of each choice."""

    name: str
    kind: str
    label: str
    unit: str
    shows: Mapping[str, str]
    unsettled: frozenset[str]  # answers that leave the fact unknown
    minimum: Fraction | None
    maximum: Fraction | None
    max_age_days: int | None
    sources: tuple[Source, ...]

    def state(self, view: View) -> FactState:
        """What is known of this fact in one case."""
        answers = view.answers.get(self.name)
        if answers is None and not self.sources:
            return _NOTHING
        value, conflict, evidence = self._answered(answers, view) if answers else (None, False, ())
        if value is not None and value in self.unsettled:
            value = None
        at_least: Fraction | None = None
        given: str | None = None
        contradicted: tuple[str, ...] = ()
        for source in self.sources:
            proof = source.look(view)
            if proof is None:
                continue
            evidence += proof.evidence
            contradicted += proof.contradicts
            conflict = conflict or (value is not None and value in proof.contradicts)
            if proof.gives is not None and given is None:
                given = proof.gives
            if proof.at_least is not None and (at_least is None or proof.at_least > at_least):
                at_least = proof.at_least
        if conflict:
            return FactState(None, at_least, conflict=True, evidence=evidence, given=given, contradicted=contradicted)
        settled = given if value is None else value
        return FactState(settled, at_least, evidence=evidence, given=given, contradicted=contradicted)

    def _answered(
        self, answers: list[Answer], view: View
    ) -> tuple[str | Fraction | date | None, bool, tuple[Evidence, ...]]:
        """The newest counting answer, whether two of one day disagree, and all answers as evidence, newest first."""
        ordered = answers
        if len(answers) > 1:
            ordered = sorted(answers, key=_age, reverse=True)
        evidence = tuple(self._evidence(each) for each in ordered)
        counting = [each for each in ordered if each.counts and self._fits(each, view.as_of)]
        if not counting:
            return None, False, evidence
        newest = counting[0]
        if self._is_stale(newest, view.as_of):
            view.flag("stale_attestation", self.name)
            return None, False, evidence
        rival = len(counting) > 1 and any(
            each.value != newest.value and not _is_earlier(each, newest)
            for each in counting
            if each.attested_on == newest.attested_on
        )
        return newest.value, rival, evidence

    def _fits(self, answer: Answer, as_of: date) -> bool:
        """Of the declared kind and range, and not from the future."""
        if answer.attested_on is not None and answer.attested_on > as_of + _ZONES:
            return False
        value = answer.value
        if self.kind == "choice":
            return isinstance(value, str) and value in self.shows
        if self.kind == "decimal":
            return (
                isinstance(value, Fraction)
                and (self.minimum is None or value >= self.minimum)
                and (self.maximum is None or value <= self.maximum)
            )
        return isinstance(value, date) if self.kind == "date" else isinstance(value, str)

    def _is_stale(self, answer: Answer, as_of: date) -> bool:
        if self.max_age_days is None:
            return False
        return answer.attested_on is None or (as_of - answer.attested_on).days > self.max_age_days

    def _evidence(self, answer: Answer) -> Evidence:
        value = answer.value
        if isinstance(value, str):
            text = self.shows.get(value) or f"{self.label}: answered"
        elif isinstance(value, Fraction):
            text = f"{self.label}: {number(value)}{self.unit}"
        else:
            text = f"{self.label}: {value.isoformat()}"
        if not answer.counts:
            text += " (not completed, does not count)"
        return Evidence(answer.source, answer.attested_on.isoformat() if answer.attested_on else None, text)


_NOTHING = FactState(None)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _age(answer: Answer) -> tuple[date, datetime]:
    return answer.attested_on or date.min, answer.authored or _LONG_AGO


def _is_earlier(answer: Answer, newest: Answer) -> bool:
    """On the same day, but at a moment known to be before; without moments two answers of one day are equals."""
    return answer.authored is not None and newest.authored is not None and answer.authored < newest.authored


def number(value: Fraction) -> str:
    """A short decimal for people: whole numbers bare, others to two places."""
    if value.denominator == 1:
        return str(value.numerator)
    hundredths = round(value * 100)
    sign = "-" if hundredths < 0 else ""
    whole, part = divmod(abs(hundredths), 100)
    return f"{sign}{whole}.{part:02d}".rstrip("0").rstrip(".")
