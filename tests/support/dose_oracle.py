"""A second reading of the guideline analysis, section 4, written apart from the product and in another manner.

It walks the raw JSON of one draft and its neighbours, keeps amounts in micrograms, microlitres and minutes, spells
units by hand, and answers with plain dictionaries. Slow and literal on purpose: it is compared with the product on
random orders, so it must not share its ideas, let alone its code.
"""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

UCUM = "http://unitsofmeasure.org"
NAMES = {
    "1292": "baclofen",
    "1815": "bupivacaine",
    "2599": "clonidine",
    "4337": "fentanyl",
    "3423": "hydromorphone",
    "7052": "morphine",
    "56795": "sufentanil",
    "68503": "ziconotide",
}
# Per day in mg, and mg/mL, as the guideline prints them.
PRINTED = {
    "baclofen": (Fraction(2), Fraction(2)),
    "bupivacaine": (Fraction(30), Fraction(38)),
    "clonidine": (Fraction(3, 2), Fraction(2)),
    "fentanyl": (None, Fraction(1, 20)),
    "hydromorphone": (Fraction(10), Fraction(30)),
    "morphine": (Fraction(15), Fraction(30)),
}
GROUP = {"72607000": "it", "404820008": "epi", "417070009": "epi", "418418000": "spinal"}
SIZES = {
    "g": ("m", Fraction(1_000_000)),
    "mg": ("m", Fraction(1000)),
    "ug": ("m", Fraction(1)),
    "ng": ("m", Fraction(1, 1000)),
    "L": ("v", Fraction(1_000_000)),
    "dL": ("v", Fraction(100_000)),
    "mL": ("v", Fraction(1000)),
    "uL": ("v", Fraction(1)),
    "s": ("t", Fraction(1, 60)),
    "min": ("t", Fraction(1)),
    "h": ("t", Fraction(60)),
    "(24.h)": ("t", Fraction(1440)),
    "d": ("t", Fraction(1440)),
    "wk": ("t", Fraction(10_080)),
    "1": ("", Fraction(1)),
}
TEXTS = {
    "mcg": "ug",
    "mcg/day": "ug/d",
    "mcg/mL": "ug/mL",
    "mg/day": "mg/d",
    "mL/day": "mL/d",
    "mL/hr": "mL/h",
    "ml": "mL",
    "MG": "mg",
    "MG/day": "mg/d",
    "mg/24 hr": "mg/(24.h)",
}
CODES = {
    "QD": Fraction(1),
    "BID": Fraction(2),
    "TID": Fraction(3),
    "QID": Fraction(4),
    "QOD": Fraction(1, 2),
    "Q6H": Fraction(4),
}
GONE = ("on-hold", "stopped", "completed", "cancelled", "entered-in-error")


class CannotTell(Exception):
    """Not determined."""


def measure(quantity):
    """(number, kind): kinds are "m", "v", "t", "", "m/v", "m/t", "v/t"."""
    if not quantity or quantity.get("value") is None or quantity["value"] <= 0:
        raise CannotTell
    if quantity.get("system") == UCUM:
        unit = quantity["code"]
    else:
        unit = quantity.get("unit")
        unit = TEXTS.get(unit, unit)
    if unit == "%":  # g per 100 mL
        return Fraction(str(quantity["value"])) * 1_000_000 / 100_000, "m/v"
    pieces = (unit or "?").split("/")
    if len(pieces) > 2 or any(piece not in SIZES for piece in pieces):
        raise CannotTell
    kind, size = SIZES[pieces[0]]
    if len(pieces) == 2:
        if not kind or not SIZES[pieces[1]][0]:
            raise CannotTell
        kind, size = f"{kind}/{SIZES[pieces[1]][0]}", size / SIZES[pieces[1]][1]
    return Fraction(str(quantity["value"])) * size, kind


def measure_ratio(ratio):
    top, above = measure(ratio.get("numerator"))
    bottom, below = measure(ratio.get("denominator"))
    return top / bottom, f"{above}/{below}"


def strength_of(ingredient, medication):
    """ug/uL, which is mg/mL."""
    strength = ingredient.get("strength")
    if strength is None:
        raise CannotTell
    top, above = measure(strength["numerator"])
    bottom, below = measure(strength["denominator"])
    if above == "m" and below == "v":
        return top / bottom
    if below == "" and above == "m/v":
        return top / bottom
    if below == "" and above == "m" and "amount" in medication:
        volume, kind = measure(medication["amount"]["numerator"])
        if kind == "v":
            return top / bottom / volume
    raise CannotTell


def drugs_in(medication):
    return [
        (NAMES.get(one["itemCodeableConcept"]["coding"][0]["code"]), one)
        for one in medication["ingredient"]
        if one.get("isActive") is not False
    ]


def often(timing):
    """Times per minute."""
    repeat = (timing or {}).get("repeat", {})
    if repeat.get("count") == 1:
        return Fraction(1, 1440)
    if "period" in repeat:
        times = repeat.get("frequencyMax", repeat.get("frequency", 1))
        return Fraction(times) / (Fraction(str(repeat["period"])) * SIZES[repeat["periodUnit"]][1])
    if "timeOfDay" in repeat:
        return Fraction(len(repeat["timeOfDay"]), 1440)
    if "code" in (timing or {}):
        return CODES[timing["code"]["coding"][0]["code"]] / 1440
    raise CannotTell


def instructed(instruction):
    """("m" or "v", ug or uL in a day)."""
    entries = instruction.get("doseAndRate") or [{}]
    (entry,) = entries
    timing = instruction.get("timing")
    if "rateQuantity" in entry:
        flow, kind = measure(entry["rateQuantity"])
    elif "rateRatio" in entry:
        flow, kind = measure_ratio(entry["rateRatio"])
    elif "rateRange" in entry:
        flow, kind = measure(entry["rateRange"].get("high"))
    elif "doseQuantity" in entry or "doseRange" in entry:
        flow, kind = measure(entry.get("doseQuantity") or entry["doseRange"].get("high"))
        if kind in ("m", "v"):
            return kind, flow * often(timing) * 1440
    else:
        raise CannotTell
    if kind not in ("m/t", "v/t"):
        raise CannotTell
    repeat = (timing or {}).get("repeat", {})
    if "duration" in repeat:
        lasting = Fraction(str(repeat.get("durationMax", repeat["duration"]))) * SIZES[repeat["durationUnit"]][1]
        return kind[0], flow * lasting * often(timing) * 1440
    return kind[0], flow * 1440


def mass_for(kind, amount, ingredient, medication):
    """Ug in a day of this ingredient."""
    if kind == "v":
        return amount * strength_of(ingredient, medication)
    if len(drugs_in(medication)) != 1:
        raise CannotTell
    return amount


def one_instruction(instruction, ingredient, medication):
    computed = capped = None
    with suppress(CannotTell):
        computed = mass_for(*instructed(instruction), ingredient, medication)
    if "maxDosePerPeriod" in instruction:
        with suppress(CannotTell):
            speed, kind = measure_ratio(instruction["maxDosePerPeriod"])
            if kind in ("m/t", "v/t"):
                capped = mass_for(kind[0], speed * 1440, ingredient, medication)
    known = [value for value in (computed, capped) if value is not None]
    return min(known) if known else None


def one_order(resource, name):
    """(known ug per day, complete?) of ``name``; None if the order does not hold it."""
    medication = resource["contained"][0]
    found = [one for word, one in drugs_in(medication) if word == name]
    if not found:
        return None
    steps = {}
    for instruction in resource["dosageInstruction"]:
        steps.setdefault(instruction.get("sequence"), []).append(one_instruction(instruction, found[0], medication))
    if not steps:
        return Fraction(0), False
    beside = steps.pop(None, [])
    totals = []
    for amounts in list(steps.values()) or [[]]:
        together = amounts + beside
        totals.append((sum((a for a in together if a is not None), Fraction(0)), None not in together))
    return max(total for total, _ in totals), all(complete for _, complete in totals)


def group_of(resource):
    for instruction in resource["dosageInstruction"]:
        if "route" in instruction:
            return GROUP.get(instruction["route"]["coding"][0]["code"], "other")
    return None


def judge(draft, other_drafts, chart):
    """Ingredient -> (mg/d or None, verdict, mg/mL or None, verdict) as strings and Fractions."""
    drafts = [draft, *other_drafts]
    replaced = {one["priorPrescription"]["reference"] for one in drafts if "priorPrescription" in one}
    stored = {one["id"] for one in drafts}
    neighbours = [one for one in other_drafts if one["status"] not in GONE]
    for one in chart:
        if one["status"] in GONE or one["id"] in stored or f"MedicationRequest/{one['id']}" in replaced:
            continue
        neighbours.append(one)
    neighbours = [one for one in neighbours if group_of(one) == group_of(draft)]
    answer = {}
    medication = draft["contained"][0]
    for name, ingredient in drugs_in(medication):
        if name is None:
            continue
        parts = [one_order(one, name) for one in [draft, *neighbours]]
        parts = [part for part in parts if part is not None]
        known = sum(part[0] for part in parts) / 1000
        complete = all(part[1] for part in parts)
        try:
            strong = strength_of(ingredient, medication)
        except CannotTell:
            strong = None
        limits = PRINTED.get(name, (None, None)) if group_of(draft) == "it" else (None, None)
        daily_verdict = verdict(known if complete or (limits[0] is not None and known > limits[0]) else None, limits[0])
        shown = known if complete or daily_verdict == "exceeds" else None
        answer[name] = (shown, daily_verdict, strong, verdict(strong, limits[1]))
    return answer


def verdict(value, limit):
    if limit is None:
        return "no_limit_stated"
    if value is None:
        return "cannot_be_determined"
    return "within" if value <= limit else "exceeds"
