"""What can be ordered here: compounded pump solutions, commercial products, and a few drugs of other routes."""

from __future__ import annotations

import msgspec


class Item(msgspec.Struct, frozen=True):
    """One entry of the drug list; ``rxcui`` is the product's or the plain drug's number, "" for a solution."""

    key: str
    name: str
    group: str
    rxcui: str = ""
    ingredients: tuple[tuple[str, str, str], ...] = ()  # (drug, concentration, unit) that the form starts with
    route: str = "intrathecal"

    @property
    def solution(self) -> bool:
        """Compounded: its ingredients and concentrations stand on the order."""
        return bool(self.ingredients)


_POUR = "Compounded solutions"
_MADE = "Commercial products"
_ELSE = "Other drugs"

_ITEMS = (
    Item("morphine", "Morphine", _POUR, "", (("morphine", "20", "mg/mL"),)),
    Item("hydromorphone", "Hydromorphone", _POUR, "", (("hydromorphone", "10", "mg/mL"),)),
    Item("fentanyl", "Fentanyl", _POUR, "", (("fentanyl", "50", "ug/mL"),)),
    Item("sufentanil", "Sufentanil", _POUR, "", (("sufentanil", "50", "ug/mL"),)),
    Item("bupivacaine", "Bupivacaine", _POUR, "", (("bupivacaine", "20", "mg/mL"),)),
    Item("clonidine", "Clonidine", _POUR, "", (("clonidine", "500", "ug/mL"),)),
    Item("baclofen", "Baclofen", _POUR, "", (("baclofen", "2", "mg/mL"),)),
    Item("ziconotide", "Ziconotide", _POUR, "", (("ziconotide", "25", "ug/mL"),)),
    Item(
        "morphine-bupivacaine", "Morphine and bupivacaine", _POUR, "",
        (("morphine", "10", "mg/mL"), ("bupivacaine", "20", "mg/mL")),
    ),
    Item(
        "morphine-bupivacaine-clonidine", "Morphine, bupivacaine and clonidine", _POUR, "",
        (("morphine", "10", "mg/mL"), ("bupivacaine", "20", "mg/mL"), ("clonidine", "500", "ug/mL")),
    ),
    Item("mixture", "Another mixture", _POUR, "", (("morphine", "", "mg/mL"), ("clonidine", "", "ug/mL"))),
    Item("1731998", "Morphine sulfate 10 mg/mL, 20 mL", _MADE, "1731998"),
    Item("1731522", "Morphine sulfate 25 mg/mL, 20 mL", _MADE, "1731522"),
    Item("1724338", "Hydromorphone hydrochloride 10 mg/mL, 1 mL", _MADE, "1724338"),
    Item("1735008", "Fentanyl 0.05 mg/mL, 20 mL", _MADE, "1735008"),
    Item("1809104", "Sufentanil 0.05 mg/mL, 5 mL", _MADE, "1809104"),
    Item("1300890", "Baclofen 1 mg/mL, 20 mL", _MADE, "1300890"),
    Item("1666613", "Baclofen 2 mg/mL, 20 mL", _MADE, "1666613"),
    Item("morphine-oral", "Morphine, oral", _ELSE, "7052", route="oral"),
    Item("methotrexate", "Methotrexate", _ELSE, "6851"),
)  # fmt: skip
FORMULARY = {item.key: item for item in _ITEMS}


def grouped() -> dict[str, tuple[Item, ...]]:
    """The drug list by group, in the order in which it is shown."""
    return {group: tuple(item for item in _ITEMS if item.group == group) for group in (_POUR, _MADE, _ELSE)}
