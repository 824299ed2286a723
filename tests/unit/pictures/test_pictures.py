"""Drawings say the same in words, escape what they are given, and break at no odd value."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import date, timedelta
from fractions import Fraction
from itertools import combinations

import msgspec
import pytest

from cds_service.pictures.dose_bars import DoseBar, dose_bars
from cds_service.pictures.pain_plot import PainPoint, pain_plot, relief_percent
from cds_service.pictures.stacked_counts import CountRow, stacked_counts
from cds_service.pictures.svg import WIDTH, Picture
from cds_service.pictures.therapy_timeline import Course, therapy_timeline

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '<script>alert(1)</script>"&\u202e'
AS_OF = date(2026, 3, 2)


def elements(picture: Picture, name: str) -> list[ET.Element]:
    return list(ET.fromstring(picture.svg).iter(f"{SVG}{name}"))


def widths(picture: Picture) -> list[float]:
    return [float(each.get("width", "0")) for each in elements(picture, "rect")]


def bar(verdict: str, amount: str | None, limit: str | None) -> DoseBar:
    return DoseBar(
        label="Morphine, daily dose",
        verdict=verdict,  # type: ignore[arg-type]
        amount=None if amount is None else Fraction(amount),
        amount_text="" if amount is None else f"{amount} mg/d",
        limit=None if limit is None else Fraction(limit),
        limit_text="" if limit is None else f"{limit} mg/d",
    )


@pytest.mark.parametrize(
    ("drawn", "said", "hatched"),
    [
        (bar("within", "15", "15"), "15 mg/d, limit 15 mg/d, within the limit.", False),
        (bar("exceeds", "18", "15"), "18 mg/d, limit 15 mg/d, above the limit.", True),
        (bar("exceeds", "15000", "15"), "15000 mg/d, limit 15 mg/d, above the limit.", True),  # a slip of units
        (bar("no_limit_stated", "3", None), "3 mg/d, no limit stated.", False),
        (bar("cannot_be_determined", None, "15"), "not known, limit 15 mg/d, cannot be determined.", False),
        (bar("cannot_be_determined", None, None), "not known, cannot be determined.", False),
        (bar("exceeds", "1", "0"), "1 mg/d, limit 0 mg/d, above the limit.", True),
        (bar("within", "0", "15"), "0 mg/d, limit 15 mg/d, within the limit.", False),
    ],
)
def test_a_dose_bar_says_what_it_draws(drawn: DoseBar, said: str, hatched: bool) -> None:
    picture = dose_bars([drawn])
    assert said in picture.summary
    assert picture.summary in ET.fromstring(picture.svg).get("aria-label", "")
    assert all(0 <= width <= WIDTH for width in widths(picture))
    over = [each for each in elements(picture, "rect") if each.get("fill-opacity") == "0.55"]
    assert bool(over) is hatched


def test_a_limit_stands_at_its_place() -> None:
    picture = dose_bars([bar("within", "5", "10")])
    line = elements(picture, "line")[0]
    filled = elements(picture, "rect")[1]
    assert float(filled.get("width", "0")) * 2 == pytest.approx(float(line.get("x1", "0")))


def test_therapies_that_end_run_and_are_undated_are_told_apart() -> None:
    picture = therapy_timeline(
        [
            Course(label="Gabapentin", kind="ordered", start=date(2026, 1, 1), end=date(2026, 2, 11)),
            Course(label="Morphine", kind="ordered", start=date(2026, 2, 1), ongoing=True),
            Course(label="Exercise", kind="stated", start=date(2026, 2, 28), told_by="attestation"),
            Course(label="Stimulation", kind="stated"),
        ],
        AS_OF,
        [(date(2026, 2, 20), "trial")],
    )
    assert [row[3] for row in picture.rows] == ["2026-02-11", "still running", "end not known", "end not known"]
    assert [row[4] for row in picture.rows] == [
        "6 weeks",
        "4 weeks, still running",
        "3 days at most, end not known",
        "no dates",
    ]
    assert len(elements(picture, "rect")) == 3  # what has no date has no bar
    assert len([each for each in elements(picture, "rect") if each.get("stroke-dasharray")]) == 1


def test_what_is_taken_only_as_needed_is_hatched_and_says_so() -> None:
    regular = Course(label="Morphine ER", kind="ordered", start=date(2025, 12, 1), ongoing=True)
    needed = msgspec.structs.replace(regular, label="Oxycodone", as_needed=True)
    slanting = [
        len([line for line in elements(therapy_timeline([course], AS_OF), "line") if line.get("x1") != line.get("x2")])
        for course in (regular, needed)
    ]
    assert slanting[0] == 1, "the axis alone"
    assert slanting[1] > 10
    assert "only as needed" in therapy_timeline([needed], AS_OF).svg


def test_no_label_meets_another_nor_leaves_the_drawing() -> None:
    long = Course(label="Morphine sulfate, extended release, " * 3, kind="ordered", start=date(2025, 9, 1))
    marks = [(AS_OF - timedelta(days=days), "trial") for days in (0, 5, 9, 150)]
    dated = [PainPoint(when=AS_OF - timedelta(days=days), score=Fraction(5)) for days in range(9)]
    named = DoseBar(label="Hydromorphone, concentration", verdict="cannot_be_determined", why="the strength is missing")
    for picture in (
        therapy_timeline([long, long], AS_OF, marks),
        dose_bars([named, bar("exceeds", "1500", "15")]),
        pain_plot(dated),
        stacked_counts(
            [CountRow("Other than drugs, expedited, all", (90, 90, 900))], ("approved", "changed", "not certified"), "D"
        ),
    ):
        spans = [span(each) for each in elements(picture, "text")]
        assert all(left >= -1 and right <= WIDTH + 1 for left, right, _ in spans)
        for (left, right, y), other in combinations(spans, 2):
            assert abs(y - other[2]) > 8 or right <= other[0] or other[1] <= left, picture.title


def span(text: ET.Element) -> tuple[float, float, float]:
    """From where to where a line of text reaches, and its height, with letters of a usual width."""
    wide = len(text.text or "") * 0.6 * float(text.get("font-size", "0"))
    at = float(text.get("x", "0"))
    left = {"middle": at - wide / 2, "end": at - wide}.get(text.get("text-anchor", ""), at)
    return left, left + wide, float(text.get("y", "0"))


@pytest.mark.parametrize(
    ("before", "after", "percent"),
    [("8", "4", Fraction(50)), ("8", "3.5", Fraction("56.25")), ("4", "8", Fraction(-100)), ("0", "0", None)],
)
def test_relief_is_exact(before: str, after: str, percent: Fraction | None) -> None:
    assert relief_percent(Fraction(before), Fraction(after)) == percent


def test_pain_is_compared_only_with_both_scores_and_the_example_is_no_floor() -> None:
    before = PainPoint(when=date(2026, 1, 1), score=Fraction(8), moment="before")
    after = PainPoint(when=date(2026, 2, 1), score=Fraction(5), moment="after")
    assert "cannot be compared" in pain_plot([before], Fraction(50)).summary
    said = pain_plot([after, before], Fraction(50)).summary
    assert said == ("Score 8 before and 5 after the trial: relief about 38 %; the guideline names 50 % as an example.")
    assert [row[1] for row in pain_plot([after, before]).rows] == ["8", "5"]


@pytest.mark.parametrize(
    "picture",
    [
        dose_bars([]),
        therapy_timeline([], AS_OF),
        pain_plot([]),
        stacked_counts([], ("approved",), "Decisions"),
        stacked_counts([CountRow("none", (0, 0))], ("approved", "changed"), "Decisions"),
    ],
)
def test_nothing_to_draw_is_said(picture: Picture) -> None:
    assert ET.fromstring(picture.svg).get("aria-label", "").startswith(picture.title)


def test_bad_input_110_foreign_text_stays_text_in_drawings() -> None:
    day = date(2026, 1, 1)
    for picture in (
        dose_bars([DoseBar(label=EVIL, verdict="within", amount=Fraction(1), amount_text=EVIL)], EVIL),
        therapy_timeline([Course(label=EVIL, kind=EVIL, start=day, evidence=EVIL)], AS_OF, [(day, EVIL)], EVIL),
        pain_plot([PainPoint(when=day, score=Fraction(3), evidence=EVIL)], title=EVIL),
        stacked_counts([CountRow(EVIL, (1,))], (EVIL,), EVIL),
    ):
        assert not elements(picture, "script")
        assert "<script" not in picture.svg
        assert EVIL in ET.fromstring(picture.svg).get("aria-label", "")


def test_drawings_need_no_inline_style() -> None:
    picture = dose_bars([bar("exceeds", "18", "15")])
    assert all(each.get("style") is None for each in ET.fromstring(picture.svg).iter())


def test_counts_add_up_to_the_width_of_the_longest() -> None:
    picture = stacked_counts([CountRow("a", (3, 1)), CountRow("b", (1, 0))], ("approved", "not certified"), "Decisions")
    assert picture.rows == (("a", "3", "1", "4"), ("b", "1", "0", "1"))
    drawn = [float(each.get("width", "0")) for each in elements(picture, "rect") if each.get("height") == "14"]
    assert drawn == [WIDTH, WIDTH * 3 / 4, WIDTH / 4, WIDTH, WIDTH / 4]
