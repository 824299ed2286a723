"""From a guideline's files to a Guideline. Complaints name what was found and what is allowed; nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import product
from typing import Any

from cds_service.domain.determination import Program, Tier
from cds_service.domain.limits import DoseTable, Limit
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import ICD10CM, RouteGroup, Vocabulary
from cds_service.policy.codes import index
from cds_service.policy.model import (
    Annotation,
    Billing,
    DoseRow,
    Fact,
    Guideline,
    ListedCode,
    Mismatch,
    ProgramException,
    Regimen,
    RequestType,
    Revision,
    Scope,
    Section,
    Statement,
)
from cds_service.policy.parse_criteria import CriteriaReader
from cds_service.policy.parse_facts import FactReader
from cds_service.policy.plan import Plan
from cds_service.policy.source import At, Complaint, plain, several

Files = Mapping[str, Mapping[str, Any]]


def parse_guideline(files: Files, vocabulary: Vocabulary, digest: str, complaints: list[Complaint]) -> Guideline | None:
    """The guideline that ``files`` (by name, of the shapes GUIDELINE_FILES) state; None with complaints."""
    before = len(complaints)
    guideline = _Parser(files, vocabulary, complaints).guideline(digest)
    return guideline if len(complaints) == before else None


class _Parser:
    def __init__(self, files: Files, vocabulary: Vocabulary, complaints: list[Complaint]) -> None:
        self.policy = files["policy.yaml"]
        self.dosing = files["dosing.yaml"]
        self.coding = files["coding.yaml"]
        self.annotated = files["annotations.yaml"]
        self.facts_entry = files["facts.yaml"]
        self.vocabulary = vocabulary
        self.complaints = complaints
        self.drugs = {each.name for each in vocabulary.ingredients.values()}

    def wrong(self, at: At, where: str, found: str, allowed: str) -> None:
        self.complaints.append(Complaint(at.file, at.line, where, found, allowed))

    def one_of(self, word: Any, allowed: Iterable[str], where: str) -> str:
        known = set(allowed)
        if plain(word) not in known:
            self.wrong(word.at, where, repr(plain(word)), several(sorted(known)))
        return plain(word)

    def guideline(self, digest: str) -> Guideline:
        policy = self.policy
        reader = FactReader(self.facts_entry, self.vocabulary, self.complaints)
        facts, plans = reader.read()
        items = policy["items"] or {}
        purposes = {
            name: self._purpose(items.get(name), facts)
            for name in ("route", "daily_dose", "concentration", "rationale", "compounded")
        }
        scope = self._scope()
        criteria = CriteriaReader(
            policy, facts, reader.courses, self.vocabulary, scope.drugs, purposes, self.complaints
        )
        criteria.read()
        request = self._request(facts, criteria.sections)
        while_unknown = tuple(
            self.one_of(word, criteria.sections, "request.while_unknown") for word in policy["request"]["while_unknown"]
        )
        stem = plain(policy["stem"])
        if stem:
            self.one_of(policy["stem"], criteria.criteria, "stem")
        regimens, tier_of, regimen_flags = self._regimens(scope.drugs)
        annotations = self._annotations(scope.drugs)
        icd, hcpcs = self._listed("icd10", "icd10"), self._listed("hcpcs", "hcpcs")
        reported = {while_unknown, *(each.reports for each in request.values())}
        plan = Plan(
            codes=index(self.vocabulary.value_sets),
            facts=plans,
            position={name: number for number, name in enumerate(facts)},
            asked_once=frozenset(fact.name for fact in facts.values() if fact.asked_once),
            advisory=frozenset(fact.name for fact in facts.values() if fact.advisory),
            types={
                fact.name: (("QuestionnaireResponse", *fact.types), fact.types_if_served) for fact in facts.values()
            },
            steps={sections: criteria.steps(stem, sections) for sections in reported},
            icd={each.code.upper().replace(".", ""): each for each in icd},
            hcpcs=frozenset(Code(uri, each.code) for each in hcpcs for uri in self.vocabulary.systems["hcpcs"]),
            specific=self._sets("specific_codes"),
            generic=self._sets("generic_codes"),
            beside=self._sets("beside_codes"),
            long_term=self._sets("long_term_codes"),
            long_term_reasons=self._sets("long_term_reasons"),
            injectable=self._sets("injectable_forms"),
            annotation_flags=_flags_by_drug(annotations),
            regimen_flags=regimen_flags,
            strengths=_strengths(self.vocabulary),
        )
        return Guideline(
            id=plain(policy["id"]),
            version=plain(policy["version"]),
            digest=digest,
            title=plain(policy["title"]),
            publisher=plain(policy["publisher"]),
            effective=policy["effective"],
            until=policy["until"],
            original=policy["original"],
            reviewed=policy["reviewed"],
            canonical=plain(policy["questionnaire"]["canonical"]),
            answers_system=plain(policy["questionnaire"]["answers"]),
            scope=scope,
            request_fact=plain(policy["request"]["fact"]),
            request_types=request,
            reported_while_unknown=while_unknown,
            stem=stem or None,
            criteria=criteria.criteria,
            sections=criteria.sections,
            facts=facts,
            route_fact=purposes["route"],
            dose_fact=purposes["daily_dose"],
            concentration_fact=purposes["concentration"],
            rationale_fact=purposes["rationale"],
            dose_table=self._dose_table(scope.drugs),
            dose_rows=tuple(_dose_row(each) for each in self.dosing["rows"]),
            regimens=regimens,
            tier_of=tier_of,
            icd=icd,
            hcpcs=hcpcs,
            billing=self._billing(scope.drugs, purposes["compounded"]),
            mismatch=self._mismatch(scope.drugs, icd),
            annotations=annotations,
            statements=self._statements(scope.drugs),
            programs=self._programs(),
            revisions=tuple(Revision(each["date"], plain(each["text"])) for each in policy["revisions"]),
            references=tuple(plain(each) for each in policy["references"]),
            plan=plan,
        )

    def _purpose(self, word: Any, facts: Mapping[str, Fact]) -> str:
        return self.one_of(word, facts, "items") if word else ""

    def _sets(self, key: str) -> frozenset[str]:
        return frozenset(plain(word) for word in self.policy["scope"][key])

    def _scope(self) -> Scope:
        entry = self.policy["scope"]
        keys = (
            "specific_codes",
            "generic_codes",
            "beside_codes",
            "long_term_reasons",
            "long_term_codes",
            "injectable_forms",
        )
        for key in keys:
            for word in entry[key]:
                self.one_of(word, self.vocabulary.value_sets, f"scope.{key}")
        return Scope(
            drugs=frozenset(self.one_of(word, self.drugs, "scope.drugs") for word in entry["drugs"]),
            routes=frozenset(RouteGroup(plain(word)) for word in entry["routes"]),
            cite=plain(entry["cite"]),
            since=entry["since"],
            **{key: tuple(plain(word) for word in entry[key]) for key in keys},
        )

    def _request(self, facts: Mapping[str, Fact], sections: Mapping[str, Section]) -> dict[str, RequestType]:
        entry = self.policy["request"]
        fact = self.one_of(
            entry["fact"], [name for name, each in facts.items() if each.kind == "choice"], "request.fact"
        )
        found: dict[str, RequestType] = {}
        for each in entry["types"]:
            code = plain(each["code"])
            for word in (each["decided_by"], *each["reports"]):
                self.one_of(word, sections, "request.types")
            if plain(each["decided_by"]) not in each["reports"]:
                self.wrong(
                    each["decided_by"].at,
                    "request.types",
                    f"{code} does not report its own section",
                    "decided_by among reports",
                )
            found[code] = RequestType(
                code=code,
                text=plain(each["text"]),
                decided_by=plain(each["decided_by"]),
                reports=tuple(plain(word) for word in each["reports"]),
                stated=each["stated"],
                flag=plain(each["flag"]),
                cite=plain(each["cite"]),
                since=each["since"],
            )
        options = {option.code for option in facts[fact].options} if fact in facts else set()
        for missing in sorted(options - set(found)) + sorted(set(found) - options):
            self.wrong(
                entry["fact"].at,
                "request.types",
                f"the request type {missing} only once",
                "the answers of the fact and the request types alike",
            )
        return found

    def _dose_table(self, drugs: frozenset[str]) -> DoseTable:
        rows: dict[str, Limit] = {}
        for each in self.dosing["rows"]:
            drug = self.one_of(each["drug"], drugs, "rows.drug")
            if drug in rows:
                self.wrong(each["drug"].at, "rows", f"{drug} a second time", "each drug once")
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

    def _regimens(
        self, drugs: frozenset[str]
    ) -> tuple[tuple[Regimen, ...], dict[frozenset[str], Tier], dict[frozenset[str], tuple[str, ...]]]:
        regimens: list[Regimen] = []
        tier_of: dict[frozenset[str], Tier] = {}
        flags: dict[frozenset[str], tuple[str, ...]] = {}
        for each in self.dosing["regimens"]:
            groups = tuple(
                tuple(self.one_of(word, drugs, "regimens") for word in group) for group in each["one_from_each"]
            )
            regimen = Regimen(
                tier=plain(each["tier"]),
                one_from_each=groups,
                caveats=tuple(plain(word) for word in each["caveats"]),
                flags=tuple(plain(word) for word in each["flags"]),
                text=plain(each["text"]),
                cite=plain(each["cite"]),
                since=each["since"],
            )
            regimens.append(regimen)
            for combination in product(*groups):
                key = frozenset(combination)
                if key in tier_of or len(key) != len(combination):
                    self.wrong(
                        each["tier"].at, "regimens", several(combination), "each combination once, of different drugs"
                    )
                tier_of[key] = Tier(regimen.tier, regimen.caveats)
                flags[key] = regimen.flags
        return tuple(regimens), tier_of, flags

    def _listed(self, key: str, system: str) -> tuple[ListedCode, ...]:
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

    def _billing(self, drugs: frozenset[str], compounded: str) -> Billing:
        entry = self.coding["billing"]
        if entry is None:
            return Billing(compounded_fact=compounded)
        listed = [plain(each["code"]) for each in self.coding["hcpcs"]]
        return Billing(
            compounded_code=self.one_of(entry["compounded_code"], listed, "billing"),
            certain_drugs=frozenset(self.one_of(word, drugs, "billing") for word in entry["certain_drugs"]),
            commercial={
                self.one_of(drug, drugs, "billing"): self.one_of(code, listed, "billing")
                for drug, code in entry["commercial"].items()
            },
            compounded_fact=compounded,
            confirm_flag=plain(entry["confirm_flag"]),
            cite=plain(entry["cite"]),
        )

    def _mismatch(self, drugs: frozenset[str], icd: tuple[ListedCode, ...]) -> Mismatch:
        entry = self.coding["diagnosis_match"]
        if entry is None:
            return Mismatch()
        families = {each.family for each in icd if each.family}
        return Mismatch(
            expected={
                self.one_of(drug, drugs, "diagnosis_match"): frozenset(
                    self.one_of(word, families, "diagnosis_match") for word in words
                )
                for drug, words in entry["families"].items()
            },
            flag=plain(entry["flag"]),
        )

    def _annotations(self, drugs: frozenset[str]) -> tuple[Annotation, ...]:
        return tuple(
            Annotation(
                id=plain(each["id"]),
                printed=plain(each["printed"]),
                remark=plain(each["remark"]),
                drugs=tuple(self.one_of(word, drugs, "annotations") for word in each["drugs"]),
                flag=plain(each["flag"]),
                subject=plain(each["subject"]),
                shown=plain(each["shown"]),
                source=plain(each["source"]),
                cite=plain(each["cite"]),
                since=each["since"],
            )
            for each in self.annotated["annotations"]
        )

    def _statements(self, drugs: frozenset[str]) -> tuple[Statement, ...]:
        return tuple(
            Statement(
                id=plain(each["id"]),
                kind=plain(each["kind"]),
                text=plain(each["text"]),
                quoted=each["quoted"],
                drugs=tuple(self.one_of(word, drugs, "statements") for word in each["drugs"]),
                cite=plain(each["cite"]),
                since=each["since"],
            )
            for each in self.policy["statements"]
        )

    def _programs(self) -> dict[Program, ProgramException]:
        return {
            Program(plain(each["program"])): ProgramException(
                program=Program(plain(each["program"])),
                text=plain(each["text"]),
                decision=plain(each["decision"]),
                flag=plain(each["flag"]),
                subject=plain(each["subject"]),
                links=tuple((plain(link["label"]), plain(link["remark"])) for link in each["links"]),
                cite=plain(each["cite"]),
                since=each["since"],
            )
            for each in self.policy["programs"]
        }


def _strengths(vocabulary: Vocabulary) -> dict[str, frozenset[Fraction]]:
    """Concentrations on the market: of the ingredient tables and of the products."""
    found = {each.name: set(each.strengths) for each in vocabulary.ingredients.values()}
    for commercial in vocabulary.products.values():
        for part in commercial.ingredients:
            if part.mg_per_ml is not None and found.get(part.ingredient):
                found[part.ingredient].add(part.mg_per_ml)
    return {name: frozenset(strengths) for name, strengths in found.items()}


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


def _flags_by_drug(annotations: Iterable[Annotation]) -> dict[str, tuple[tuple[str, str], ...]]:
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for each in annotations:
        if each.flag:
            for drug in each.drugs:
                found[drug] = (*found.get(drug, ()), (each.flag, each.subject))
    return found
