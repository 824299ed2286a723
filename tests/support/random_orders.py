"""Random compounded pump orders, plausible and broken, as FHIR JSON."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

from tests.support.dose_setting import RXCUI, drug, q, ratio, request

_MASS = ["mg", "ug", "g", "ng"]
_TIME = ["h", "d", "min", "wk", "(24.h)"]
_BAD_UNITS = ["mmol", "Mg", "mcg", "[iU]", "{dose}", "ug/kg/h", "mmol/d", "[drp]"]
_TEXT_UNITS = ["mcg", "mcg/day", "mg/day", "mL/day", "mL/hr", "ml", "MG", "MG/day", "mg/24 hr"]


class Orders:
    """A source of orders; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def number(self) -> Any:
        kind = self.random.random()
        if kind < 0.03:
            return self.random.choice([0, -1, Decimal("-0.5")])
        if kind < 0.4:
            return self.random.randint(1, 40)
        return Decimal(self.random.randint(1, 99_999)).scaleb(-self.random.randint(1, 5))

    def quantity(self, unit: str) -> dict[str, Any]:
        kind = self.random.random()
        if kind < 0.04:
            unit = self.random.choice(_BAD_UNITS)
        elif kind < 0.08:
            return {"value": self.number(), "unit": self.random.choice(_TEXT_UNITS)}
        elif kind < 0.1:
            return {"value": self.number()}
        elif kind < 0.12:
            return {"unit": unit}
        return q(self.number(), unit)

    def rate_unit(self) -> str:
        top = self.random.choice(["mL", "mL", "mL", "uL", *_MASS])
        return f"{top}/{self.random.choice(_TIME)}"

    def dose_unit(self) -> str:
        return self.random.choice(["mL", "uL", "mg", "ug"])

    def amount(self) -> dict[str, Any]:
        """One element of doseAndRate."""
        shape = self.random.randint(0, 8)
        if shape <= 1:
            return {"rateQuantity": self.quantity(self.rate_unit())}
        if shape == 2:
            under = q(self.random.choice([1, 24, 7]), self.random.choice(["h", "d", "min"]))
            return {"rateRatio": {"numerator": self.quantity(self.dose_unit()), "denominator": under}}
        if shape == 3:
            unit = self.rate_unit()
            return {"rateRange": {"low": q(Decimal("0.00001"), unit), "high": self.quantity(unit)}}
        if shape == 4:
            unit = self.dose_unit()
            return {"doseRange": {"low": q(Decimal("0.00001"), unit), "high": self.quantity(unit)}}
        if shape == 5:
            return {"doseQuantity": self.quantity(self.rate_unit())}
        if shape == 6:
            return {
                "doseQuantity": self.quantity(self.dose_unit()),
                "rateQuantity": self.quantity(self.rate_unit()),
            }
        return {"doseQuantity": self.quantity(self.dose_unit())}

    def timing(self) -> dict[str, Any]:
        shape = self.random.randint(0, 6)
        if shape == 0:
            return {"repeat": {"count": 1}}
        if shape == 1:
            return {"code": {"coding": [{"code": self.random.choice(["QD", "BID", "TID", "QID", "QOD", "Q6H"])}]}}
        if shape == 2:
            return {"repeat": {"timeOfDay": ["08:00:00", "14:00:00", "20:00:00"][: self.random.randint(1, 3)]}}
        repeat: dict[str, Any] = {
            "frequency": self.random.randint(1, 6),
            "period": self.random.choice([1, 1, 2, 6, 12, Decimal("1.5")]),
            "periodUnit": self.random.choice(["d", "d", "h", "wk"]),
        }
        if self.random.random() < 0.3:
            repeat["frequencyMax"] = repeat["frequency"] + self.random.randint(1, 4)
        if self.random.random() < 0.4:
            repeat["duration"] = self.random.randint(1, 12)
            repeat["durationUnit"] = self.random.choice(["h", "min"])
            if self.random.random() < 0.3:
                repeat["durationMax"] = repeat["duration"] + 2
        if self.random.random() < 0.2:
            repeat["boundsDuration"] = q(10, "d")
        return {"repeat": repeat}

    def instruction(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if self.random.random() < 0.04:
            return {"text": "see pump sheet"}
        if self.random.random() < 0.93:
            made["doseAndRate"] = [self.amount()]
        if self.random.random() < 0.5:
            made["timing"] = self.timing()
        if self.random.random() < 0.2:
            unit = self.random.choice(["mg", "mg", "mL", "ug"])
            made["maxDosePerPeriod"] = {
                "numerator": self.quantity(unit),
                "denominator": q(self.random.choice([1, 4, 24]), self.random.choice(["h", "d"])),
            }
        if self.random.random() < 0.2:
            made["asNeededBoolean"] = True
        return made

    def strength(self) -> Any:
        shape = self.random.randint(0, 9)
        if shape == 0:
            return None
        if shape == 1:
            return {"numerator": self.quantity("%"), "denominator": q(1, "1")}
        if shape == 2:
            return {"numerator": self.quantity("mg"), "denominator": q(1, "1")}
        if shape == 3:
            return ratio((self.random.randint(1, 40), "mg/mL"), (1, "1"))
        if shape == 4:
            return {"numerator": self.quantity("mg"), "denominator": self.quantity("mL")}
        return ratio(
            (self.random.randint(1, 40), self.random.choice(["mg", "mg", "ug"])), (self.random.choice([1, 20]), "mL")
        )

    def request(self, name: str, status: str, route: str) -> dict[str, Any]:
        """A whole MedicationRequest."""
        chosen = self.random.sample(sorted(RXCUI), self.random.choice([1, 1, 1, 2, 2, 3]))
        if self.random.random() < 0.6:
            chosen = ["morphine", *[one for one in chosen if one != "morphine"]][: max(1, len(chosen))]
        ingredients = [drug(one, self.strength()) for one in chosen]
        if self.random.random() < 0.3:
            ingredients.append({**drug("sodium chloride", 9), "isActive": False})
        instructions = [self.instruction() for _ in range(self.random.choice([1, 1, 1, 2, 3]))]
        style = self.random.random()
        for number, one in enumerate(instructions):
            if style < 0.3:
                one["sequence"] = number + 1
            elif style < 0.6:
                one["sequence"] = self.random.choice([1, 2])
            elif style < 0.7 and number:
                one["sequence"] = number
        amount = None
        if self.random.random() < 0.7:
            amount = {"numerator": self.quantity("mL"), "denominator": q(1, "1")}
        return request(ingredients, instructions, route=route, name=name, status=status, amount=amount)

    def situation(self) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
        """A draft, other drafts, and the chart."""
        route = self.random.choice(["intrathecal", "intrathecal", "intrathecal", "epidural"])
        draft = self.request("draft-1", "draft", route)
        drafts = [self.request("draft-2", "draft", self._route())] if self.random.random() < 0.2 else []
        chart = []
        for number in range(self.random.choice([0, 0, 1, 2])):
            status = self.random.choice(["active", "active", "active", "on-hold", "stopped", "completed"])
            name = self.random.choice([f"rx-{number}", f"rx-{number}", f"rx-{number}", "draft-1"])
            chart.append(self.request(name, status, self._route()))
        if self.random.random() < 0.3:
            self.random.choice([draft, *drafts])["priorPrescription"] = {"reference": "MedicationRequest/rx-0"}
        return draft, drafts, chart

    def _route(self) -> str:
        return self.random.choice(["intrathecal", "intrathecal", "epidural", "caudal", "intravenous", "oral"])
