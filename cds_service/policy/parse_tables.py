"""The tables of a guideline: doses, lines of therapy, codes, findings about the print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import product
from typing import Any, Final

from cds_service.domain.determination import Tier
from cds_service.domain.limits import DoseTable, Limit
from cds_service.domain.vocabulary import ICD10CM, RouteGroup
from cds_service.policy.model import Annotation, Billing, DoseRow, ListedCode, Mismatch, Regimen
from cds_service.policy.source import At, Complaint, plain, several

_PRINTED: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(g|mg|µg|μg|ug|mcg)(?:/(?:mL|d|day))?")
_MILLIGRAMS: Final = {"g": Fraction(1000), "mg": Fraction(1)}  # micrograms otherwise


class Names:
    """Looks up the names that a file refers to, and complains about those that nothing declares."""

    def __init__(self, complaints: list[Complaint]) -> None:
        """Complaints go to ``complaints``."""
        self.complaints = complaints

    def wrong(self, at: At, where: str, found: str, allowed: str) -> None:
        """Complain at a position."""
        self.complaints.append(Complaint(at.file, at.line, where, found, allowed))

    def one_of(self, word: Any, allowed: Iterable[str], where: str) -> str:
        """The word, which must be among ``allowed``."""
        known = set(allowed)
        if plain(word) not in known:
            self.wrong(word.at, where, repr(plain(word)), several(sorted(known)))
        return plain(word)

    def all_of(self, words: Iterable[Any], allowed: Iterable[str], where: str) -> tuple[str, ...]:
        """The words, each of which must be among ``allowed``."""
        known = set(allowed)
        return tuple(self.one_of(word, known, where) for word in words)


class TableReader(Names):
    """Reads ``dosing.yaml``, ``coding.yaml`` and ``annotations.yaml`` of one guideline."""

    def __init__(
        self, files: Mapping[str, Mapping[str, Any]], drugs: frozenset[str], complaints: list[Complaint]
    ) -> None:
        """``drugs`` are those in scope."""
        super().__init__(complaints)
        self.dosing = files["dosing.yaml"]
        self.coding = files["coding.yaml"]
        self.annotated = files["annotations.yaml"]
        self.drugs = drugs

    def dose_table(self) -> DoseTable:
        """Limits by drug."""
        rows: dict[str, Limit] = {}
        for each in self.dosing["rows"]:
            drug = self.one_of(each["drug"], self.drugs, "rows.drug")
            if drug in rows:
                self.wrong(each["drug"].at, "rows", f"{drug} a second time", "each drug once")
            for name in ("concentration", "daily"):
                self._as_printed(each["printed"][name], each[name], f"rows.{name}")
            factors = each["unit_error_factor"] or {}
            rows[drug] = Limit(
                daily=each["daily"],
                concentration=each["concentration"],
                daily_error_factor=factors.get("daily"),
                concentration_error_factor=factors.get("concentration"),
                citation=plain(each["cite"]),
            )
        routes = frozenset(RouteGroup(plain(word)) for word in self.dosing["routes"])
        return DoseTable(rows, routes, self.dosing["unit_exchange_factor"])

    def _as_printed(self, cell: Any, value: Any, where: str) -> None:
        """The number that is computed with must be the one that the policy's page shows as printed."""
        text = plain(cell)
        stated = _PRINTED.fullmatch(text)
        if stated is not None:
            printed = Fraction(stated[1]) * _MILLIGRAMS.get(stated[2], Fraction(1, 1000))
            if value is None or Fraction(value) != printed:
                self.wrong(cell.at, where, f"another number than the printed cell's {text}", "the same in mg")
        elif value is not None and not any(sign.isdigit() for sign in text):
            self.wrong(cell.at, where, f"a number where {text!r} is printed", "null: no limit is stated")

    def dose_rows(self) -> tuple[DoseRow, ...]:
        """The table as printed."""
        return tuple(_dose_row(each) for each in self.dosing["rows"])

    def regimens(self) -> tuple[Regimen, ...]:
        """Lines of therapy; each combination of drugs once."""
        found: list[Regimen] = []
        seen: set[frozenset[str]] = set()
        for each in self.dosing["regimens"]:
            regimen = Regimen(
                tier=plain(each["tier"]),
                one_from_each=tuple(self.all_of(group, self.drugs, "regimens") for group in each["one_from_each"]),
                caveats=tuple(plain(word) for word in each["caveats"]),
                flags=tuple(plain(word) for word in each["flags"]),
                text=plain(each["text"]),
                cite=plain(each["cite"]),
                since=each["since"],
            )
            found.append(regimen)
            for combination in product(*regimen.one_from_each):
                key = frozenset(combination)
                if key in seen or len(key) != len(combination):
                    allowed = "each combination once, of different drugs"
                    self.wrong(each["tier"].at, "regimens", several(combination), allowed)
                seen.add(key)
        return tuple(found)

    def listed(self, key: str, system: str) -> tuple[ListedCode, ...]:
        """Codes as printed; each once."""
        found: dict[str, ListedCode] = {}
        for each in self.coding[key]:
            code = plain(each["code"])
            if code in found:
                self.wrong(each["code"].at, key, f"{code} a second time", "each code once")
            found[code] = ListedCode(
                system=ICD10CM if system == "icd10" else system,
                code=code,
                text=plain(each["text"]),
                family=plain(each.get("family", "")),
                national=plain(each.get("national", "")),
                cite=plain(each["cite"]),
                since=each["since"],
            )
        return tuple(found.values())

    def billing(self, compounded: str) -> Billing:
        """Billing rules; ``compounded`` is the fact that may answer it."""
        entry = self.coding["billing"]
        if entry is None:
            return Billing(compounded_fact=compounded)
        listed = [plain(each["code"]) for each in self.coding["hcpcs"]]
        return Billing(
            compounded_code=self.one_of(entry["compounded_code"], listed, "billing"),
            certain_drugs=frozenset(self.one_of(word, self.drugs, "billing") for word in entry["certain_drugs"]),
            commercial={
                self.one_of(drug, self.drugs, "billing"): self.one_of(code, listed, "billing")
                for drug, code in entry["commercial"].items()
            },
            compounded_fact=compounded,
            confirm_flag=plain(entry["confirm_flag"]),
            cite=plain(entry["cite"]),
        )

    def mismatch(self, icd: tuple[ListedCode, ...]) -> Mismatch:
        """Which diagnoses go with which drug."""
        entry = self.coding["diagnosis_match"]
        if entry is None:
            return Mismatch()
        families = {each.family for each in icd if each.family}
        return Mismatch(
            expected={
                self.one_of(drug, self.drugs, "diagnosis_match"): frozenset(
                    self.one_of(word, families, "diagnosis_match") for word in words
                )
                for drug, words in entry["families"].items()
            },
            flag=plain(entry["flag"]),
        )

    def annotations(self) -> tuple[Annotation, ...]:
        """Findings about the print."""
        return tuple(
            Annotation(
                id=plain(each["id"]),
                printed=plain(each["printed"]),
                remark=plain(each["remark"]),
                drugs=tuple(self.one_of(word, self.drugs, "annotations") for word in each["drugs"]),
                flag=plain(each["flag"]),
                subject=plain(each["subject"]),
                shown=plain(each["shown"]),
                source=plain(each["source"]),
                cite=plain(each["cite"]),
                since=each["since"],
            )
            for each in self.annotated["annotations"]
        )


def tiers(regimens: Iterable[Regimen]) -> dict[frozenset[str], Tier]:
    """Line of therapy by the drugs of a solution."""
    return {
        frozenset(combination): Tier(regimen.tier, regimen.caveats)
        for regimen in regimens
        for combination in product(*regimen.one_from_each)
    }


def _dose_row(each: Mapping[str, Any]) -> DoseRow:
    printed = each["printed"]
    return DoseRow(
        drug=plain(each["drug"]),
        printed_name=plain(printed["name"]),
        printed_vials=plain(printed["vials"]),
        printed_concentration=plain(printed["concentration"]),
        printed_daily=plain(printed["daily"]),
        vials=tuple(each["vials"]),
        concentration=each["concentration"],
        daily=each["daily"],
        cite=plain(each["cite"]),
        since=each["since"],
    )
