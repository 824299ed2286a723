"""Builds one made-up patient's chart. Dates count back from the day that is passed in: they stay current."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sandbox_ehr.codes import (
    ACT_CODE,
    CPT,
    ICD10CM,
    INGREDIENTS,
    LOINC,
    ROUTES,
    RXNORM,
    SNOMED,
    TERMINOLOGY,
    concept,
    quantity,
)
from sandbox_ehr.fhir_json import Resource

PAYER = "Florida Blue"
PRACTITIONER = "dr-sample"
PRESCRIBER = "Dr. Alex Sample"
QUESTIONNAIRE = "https://cds.example.org/fhir/Questionnaire/09-J1000-31"
ANSWERS = "https://cds.example.org/fhir/CodeSystem/coverage-answers"
QR_CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"  # what a saved form is about
_DECIMALS = frozenset({"noninvasive_trial_weeks", "intraspinal_trial_pain_baseline", "intraspinal_trial_pain_after"})
_DATES = frozenset({"intraspinal_trial_date", "attestation_date"})
_PAIN_0_10 = "72514-3"


class Chart:
    """Collects resources; every method that adds one gives back its id."""

    def __init__(self, ident: str, given: str, family: str, gender: str, born: str, as_of: date) -> None:
        self.ident = ident
        self.as_of = as_of
        self.resources: list[Resource] = []
        self._counts: dict[str, int] = {}
        self.resources.append(
            {
                "resourceType": "Patient",
                "id": ident,
                "active": True,
                "identifier": [
                    {
                        "type": concept(f"{TERMINOLOGY}v2-0203", "MR"),
                        "system": "https://sandbox-ehr.example.org/mrn",
                        "value": f"MRN-{ident.upper()}",
                    }
                ],
                "name": [{"use": "official", "family": family, "given": [given]}],
                "gender": gender,
                "birthDate": born,
            }
        )

    def day(self, ago: int) -> str:
        """The day that was ``ago`` days before; negative: after."""
        return (self.as_of - timedelta(days=ago)).isoformat()

    def _add(self, resource_type: str, **elements: Any) -> str:
        count = self._counts[resource_type] = self._counts.get(resource_type, 0) + 1
        ident = f"{self.ident}-{count}"
        self.resources.append({"resourceType": resource_type, "id": ident, **elements})
        return ident

    def _subject(self) -> dict[str, str]:
        return {"reference": f"Patient/{self.ident}"}

    def coverage(
        self,
        *,
        payer: str = PAYER,
        member: str = "",
        kind: str = "PPO",
        plan: str = "PPO-STANDARD",
        started: int = 300,
        ends: int = -430,  # a year may be authorized under it
        status: str = "active",
    ) -> str:
        """Membership; ``started`` and ``ends`` count days back."""
        return self._add(
            "Coverage",
            contained=[{"resourceType": "Organization", "id": "payer", "active": True, "name": payer}],
            status=status,
            type={"text": kind},
            subscriberId=member or self.member(),
            beneficiary=self._subject(),
            relationship=concept(f"{TERMINOLOGY}subscriber-relationship", "self"),
            period={"start": self.day(started), "end": self.day(ends)},
            payor=[{"reference": "#payer", "display": payer}],
            **{"class": [{"type": concept(f"{TERMINOLOGY}coverage-class", "plan"), "value": plan, "name": kind}]},
        )

    def member(self) -> str:
        """The made-up member number."""
        return f"SAMPLE-{self.ident.upper()}"

    def encounter(self, place: str = "AMB", words: str = "Pain clinic visit") -> str:
        """The visit in which the order is written."""
        return self._add(
            "Encounter",
            status="in-progress",
            **{"class": {"system": ACT_CODE, "code": place}},
            type=[{"text": words}],
            subject=self._subject(),
            period={"start": f"{self.day(0)}T08:00:00Z"},
        )

    def problem(self, code: str, words: str, *, ago: int = 400, clinical: str = "active") -> str:
        """A problem-list entry; ``code`` is ICD-10-CM, or "" for text alone."""
        return self._add(
            "Condition",
            clinicalStatus=concept(f"{TERMINOLOGY}condition-clinical", clinical),
            verificationStatus=concept(f"{TERMINOLOGY}condition-ver-status", "confirmed"),
            category=[concept(f"{TERMINOLOGY}condition-category", "problem-list-item")],
            code=concept(ICD10CM, code, words) if code else {"text": words},
            subject=self._subject(),
            onsetDateTime=self.day(ago),
            recordedDate=self.day(ago),
        )

    def took(  # noqa: PLR0913 - an order is all of these
        self,
        rxcui: str,
        words: str,
        milligrams: str,
        *,
        per_day: int = 2,
        ago: int,
        until: int | None = None,
        as_needed: bool = False,
        stopped: str = "",
        route: str = "oral",
    ) -> str:
        """A medication order of the past; ``until`` None: still taken."""
        period = {"start": self.day(ago)} | ({} if until is None else {"end": self.day(until)})
        return self._add(
            "MedicationRequest",
            status="active" if until is None else ("stopped" if stopped else "completed"),
            **({"statusReason": {"text": stopped}} if stopped else {}),
            intent="order",
            medicationCodeableConcept=concept(RXNORM, rxcui, words),
            subject=self._subject(),
            authoredOn=self.day(ago),
            requester={"reference": f"Practitioner/{PRACTITIONER}"},
            dosageInstruction=[
                {
                    "text": f"{words} {milligrams} mg, {per_day} times a day{' if needed' if as_needed else ''}",
                    "timing": {
                        "repeat": {"boundsPeriod": period, "frequency": per_day, "period": 1, "periodUnit": "d"}
                    },
                    "asNeededBoolean": as_needed,
                    "route": concept(SNOMED, *ROUTES[route]),
                    "doseAndRate": [{"doseQuantity": quantity(Decimal(milligrams), "mg")}],
                }
            ],
        )

    def ten_weeks_of_morphine(self, milligrams: str) -> str:
        """Long-acting morphine by the clock, stopped for want of relief."""
        return self.took(
            INGREDIENTS["morphine"],
            "Morphine, extended release",
            milligrams,
            ago=140,
            until=70,
            stopped="Not enough relief",
        )

    def pump_solution(self, drug: tuple[str, str, str], rate: str, *, ago: int) -> str:
        """A running pump order; ``drug``: (RxNorm number, name, mg/mL), ``rate`` in mL/d."""
        rxcui, words, strength = drug
        return self._add(
            "MedicationRequest",
            contained=[
                {
                    "resourceType": "Medication",
                    "id": "solution",
                    "code": {"text": f"{words} {strength} mg/mL"},
                    "ingredient": [
                        {
                            "itemCodeableConcept": concept(RXNORM, rxcui, words),
                            "isActive": True,
                            "strength": {
                                "numerator": quantity(Decimal(strength), "mg"),
                                "denominator": quantity(1, "mL"),
                            },
                        }
                    ],
                }
            ],
            status="active",
            intent="order",
            medicationReference={"reference": "#solution", "display": f"{words} {strength} mg/mL"},
            subject=self._subject(),
            authoredOn=self.day(ago),
            requester={"reference": f"Practitioner/{PRACTITIONER}"},
            dosageInstruction=[
                {
                    "sequence": 1,
                    "route": concept(SNOMED, *ROUTES["intrathecal"]),
                    "doseAndRate": [{"rateQuantity": quantity(Decimal(rate), "mL/d")}],
                }
            ],
        )

    def pain(self, score: str, *, ago: int) -> str:
        """A 0-10 pain score."""
        return self._add(
            "Observation",
            status="final",
            category=[concept(f"{TERMINOLOGY}observation-category", "survey")],
            code=concept(LOINC, _PAIN_0_10, "Pain 0-10"),
            subject=self._subject(),
            effectiveDateTime=self.day(ago),
            valueQuantity=quantity(Decimal(score), "{score}"),
        )

    def did(self, words: str, *, ago: int, cpt: str = "") -> str:
        """A procedure that was done; CPT numbers carry no description."""
        return self._add(
            "Procedure",
            status="completed",
            code={**(concept(CPT, cpt) if cpt else {}), "text": words},
            subject=self._subject(),
            performedDateTime=self.day(ago),
        )

    def pump(self, hcpcs_system: str, *, ago: int) -> str:
        """An implanted programmable pump."""
        return self._add(
            "Device",
            status="active",
            type=concept(hcpcs_system, "E0783", "Implanted programmable infusion pump"),
            manufactureDate=self.day(ago + 60),
            patient=self._subject(),
        )

    def answers(self, facts: dict[str, str], *, ago: int = 7, rationale: tuple[str, str] | None = None) -> str:
        """A completed coverage questionnaire, attested ``ago`` days before."""
        attested = {**facts, "attestation_name": PRESCRIBER, "attestation_date": self.day(ago)}
        items = [{"linkId": fact, "answer": [_answer(fact, value)]} for fact, value in attested.items()]
        if rationale:
            reason, text = rationale
            items.append(
                {
                    "linkId": "clinical_rationale",
                    "item": [
                        {"linkId": "clinical_rationale_reason", "answer": [_answer("", reason)]},
                        {"linkId": "clinical_rationale_text", "answer": [{"valueString": text}]},
                    ],
                }
            )
        coverages = [each["id"] for each in self.resources if each["resourceType"] == "Coverage"]
        links = [{"url": QR_CONTEXT, "valueReference": {"reference": f"Coverage/{ident}"}} for ident in coverages[:1]]
        return self._add(
            "QuestionnaireResponse",
            **({"extension": links} if links else {}),
            questionnaire=QUESTIONNAIRE,
            status="completed",
            subject=self._subject(),
            authored=f"{self.day(ago)}T10:00:00Z",
            author={"reference": f"Practitioner/{PRACTITIONER}", "display": PRESCRIBER},
            item=items,
        )


def _answer(fact: str, value: str) -> dict[str, Any]:
    if fact in _DECIMALS:
        return {"valueDecimal": Decimal(value)}
    if fact in _DATES:
        return {"valueDate": value}
    if fact == "attestation_name":
        return {"valueString": value}
    return {"valueCoding": {"system": ANSWERS, "code": value}}
