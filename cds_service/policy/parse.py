"""From a guideline's files to a Guideline. Complaints name what was found and what is allowed; nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.domain.determination import Program
from cds_service.domain.vocabulary import RouteGroup, Vocabulary
from cds_service.policy.model import Fact, Guideline, ProgramException, RequestType, Revision, Scope, Section, Statement
from cds_service.policy.parse_criteria import CriteriaReader
from cds_service.policy.parse_facts import FactReader
from cds_service.policy.parse_tables import Names, TableReader, tiers
from cds_service.policy.prepare import prepare
from cds_service.policy.source import Complaint, plain

Files = Mapping[str, Mapping[str, Any]]
_PURPOSES = ("route", "daily_dose", "concentration", "rationale", "compounded")


def parse_guideline(files: Files, vocabulary: Vocabulary, digest: str, complaints: list[Complaint]) -> Guideline | None:
    """The guideline that ``files`` (by name, of the shapes GUIDELINE_FILES) state; None with complaints."""
    before = len(complaints)
    guideline = _Parser(files, vocabulary, complaints).guideline(digest)
    return guideline if len(complaints) == before else None


class _Parser(Names):
    def __init__(self, files: Files, vocabulary: Vocabulary, complaints: list[Complaint]) -> None:
        super().__init__(complaints)
        self.files = files
        self.policy = files["policy.yaml"]
        self.vocabulary = vocabulary

    def guideline(self, digest: str) -> Guideline:
        policy, scope = self.policy, self._scope()
        reader = FactReader(self.files["facts.yaml"], self.vocabulary, self.complaints)
        facts, plans = reader.read()
        purposes = self._purposes(facts)
        criteria = CriteriaReader(
            policy, facts, reader.courses, self.vocabulary, scope.drugs, purposes, self.complaints
        )
        criteria.read()
        if policy["stem"]:
            self.one_of(policy["stem"], criteria.criteria, "stem")
        guideline = Guideline(
            digest=digest,
            scope=scope,
            request_fact=plain(policy["request"]["fact"]),
            request_types=self._request(facts, criteria.sections),
            reported_while_unknown=self.all_of(policy["request"]["while_unknown"], criteria.sections, "request"),
            stem=plain(policy["stem"]) or None,
            criteria=criteria.criteria,
            sections=criteria.sections,
            facts=facts,
            searches=reader.searches(),
            route_fact=purposes["route"],
            dose_fact=purposes["daily_dose"],
            concentration_fact=purposes["concentration"],
            rationale_fact=purposes["rationale"],
            statements=self._statements(scope.drugs),
            programs=self._programs(),
            **self._identity(),
            **self._tables(scope.drugs, purposes["compounded"]),
        )
        return msgspec.structs.replace(guideline, plan=prepare(guideline, self.vocabulary, plans, criteria))

    def _purposes(self, facts: Mapping[str, Fact]) -> dict[str, str]:
        """The facts that other parts of the guideline ask for by purpose; "" where there is none."""
        items = self.policy["items"] or {}
        return {name: self.one_of(items[name], facts, "items") if items.get(name) else "" for name in _PURPOSES}

    def _identity(self) -> dict[str, Any]:
        policy = self.policy
        return {
            "id": plain(policy["id"]),
            "version": plain(policy["version"]),
            "title": plain(policy["title"]),
            "publisher": plain(policy["publisher"]),
            "effective": policy["effective"],
            "until": policy["until"],
            "original": policy["original"],
            "reviewed": policy["reviewed"],
            "canonical": plain(policy["questionnaire"]["canonical"]),
            "answers_system": plain(policy["questionnaire"]["answers"]),
            "revisions": tuple(Revision(each["date"], plain(each["text"])) for each in policy["revisions"]),
            "references": tuple(plain(each) for each in policy["references"]),
        }

    def _tables(self, drugs: frozenset[str], compounded: str) -> dict[str, Any]:
        reader = TableReader(self.files, drugs, self.complaints)
        regimens = reader.regimens()
        icd = reader.listed("icd10", "icd10")
        return {
            "dose_table": reader.dose_table(),
            "dose_rows": reader.dose_rows(),
            "regimens": regimens,
            "tier_of": tiers(regimens),
            "icd": icd,
            "hcpcs": reader.listed("hcpcs", "hcpcs"),
            "billing": reader.billing(compounded),
            "mismatch": reader.mismatch(icd),
            "annotations": reader.annotations(),
        }

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
            drugs=frozenset(
                self.one_of(word, {each.name for each in self.vocabulary.ingredients.values()}, "scope.drugs")
                for word in entry["drugs"]
            ),
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
