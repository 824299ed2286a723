"""The one coverage card: what it says for each situation, and what it never says."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cds_service.cds_hooks.answers import technical_answer
from cds_service.cds_hooks.card_criteria import criteria_table
from cds_service.cds_hooks.coverage_card import coverage_card
from cds_service.domain.authorization import OnFile
from cds_service.domain.determination import CriterionResult, Decision, Flag, Program, Tier
from cds_service.domain.order import OrderKind
from cds_service.domain.record import Evidence
from cds_service.domain.truth import Truth
from tests.support.hook_calls import (
    AUTHORIZATION,
    DRAFT,
    MORPHINE_ORDER,
    NOT_MET,
    OURS,
    PAYER,
    TEXTS,
    answered,
    dose,
    draft,
    flags,
    judged,
    missing,
    order,
)

replace = msgspec.structs.replace
GFM = MarkdownIt("gfm-like")
PENDING = OnFile(pending=replace(AUTHORIZATION, status="pending", due="2026-03-05"))
SECOND = "MedicationRequest/draft-2"
HOSTILE = "<img src=x> [x](javascript:alert(1)) | `tick` http://evil.com \u202e"


def card(*said, orders=None, fallback=()):
    sources = [each.order for each in said]
    orders = orders or {source: order(source) for source in sources}
    drafts = {source: draft(MORPHINE_ORDER | {"id": source.partition("/")[2]}) for source in sources}
    return coverage_card(TEXTS, said, orders, drafts, fallback)


@pytest.mark.parametrize(
    ("said", "rule", "summary"),
    [
        (answered(judged()), "coverage-ready", "Appears to meet guideline 09-J1000-31: ready to submit"),
        (answered(missing()), "coverage-missing-facts", "Prior authorization: 1 answer needed"),
        (
            answered(missing(missing_facts=("a", "b", "c"))),
            "coverage-missing-facts",
            "Prior authorization: 3 answers needed",
        ),
        (
            # Weeks are asked once the outcome is known to be failure: the form opens with one question, not with two.
            answered(missing(missing_facts=("noninvasive_trial_outcome", "noninvasive_trial_weeks"))),
            "coverage-missing-facts",
            "Prior authorization: 1 answer needed",
        ),
        (
            answered(missing(missing_facts=("noninvasive_trial_weeks",))),  # the outcome is known
            "coverage-missing-facts",
            "Prior authorization: 1 answer needed",
        ),
        (answered(judged(dose=(dose("16"),))), "coverage-rationale", "Prior authorization: give a clinical rationale"),
        (
            answered(judged(dose=(dose("16"),), rationale_on_file=True)),
            "coverage-reviewer",
            "Ready to submit for prior authorization; a reviewer decides",
        ),
        (answered(judged(program=Program.FEP)), "redirect", "Follow FEP guidelines. Guideline 09-J1000-31 is not used"),
        (answered(missing(program=Program.MEDICARE_ADVANTAGE)), "medicare", "Medicare Advantage: NCD 280.14 applies"),
        (answered(judged(), on_file=PENDING), "pending", "A prior authorization request for this order is pending"),
        (
            answered(judged(in_scope=None, flags=flags("route_missing"))),
            "cannot-tell",
            "The route of administration is not stated",
        ),
    ],
)
def test_crd_161_each_situation_says_what_to_do(said, rule, summary):
    made = card(said)
    assert made.rule == rule
    assert made.summary.startswith(summary)
    assert made.indicator == "info"
    assert made.topic == "coverage-info"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(answered(judged(in_scope=False)), id="outside the guideline"),
        pytest.param(answered(judged(), coverage=replace(OURS, active=False)), id="coverage ended: the action says it"),
        pytest.param(answered(judged(), on_file=OnFile(granted=AUTHORIZATION)), id="authorized: nothing to do"),
        pytest.param(technical_answer([DRAFT], "2.2")[0], id="109 no error is shown as a card"),
    ],
)
def test_crd_109_162_no_card_where_nothing_is_to_do(said):
    assert card(said) is None


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        (answered(judged(), on_file=OnFile(granted=AUTHORIZATION)), "authorized"),
        (answered(judged(), coverage=replace(OURS, active=False)), "inactive"),
        (technical_answer([DRAFT], "2.0")[0], "technical"),
    ],
)
def test_a_fallback_card_says_what_the_action_cannot(said, rule):
    assert card(said, fallback=frozenset({DRAFT})).rule == rule
    assert card(said, fallback=frozenset({SECOND})) is None


def test_the_summary_names_no_patient_identifier_or_diagnosis():
    for said in (
        answered(judged()),
        answered(missing()),
        answered(judged(), on_file=PENDING),
        answered(judged(criteria={"I.1": NOT_MET})),
    ):
        text = card(said).summary
        for secret in ("pat-1", "PA-1", "M1", "G89", "Practitioner"):
            assert secret not in text
        assert len(text) < 140


@pytest.mark.parametrize(
    "said",
    [
        answered(judged()),
        answered(missing()),
        answered(judged(criteria={"stem": NOT_MET}, decision=Decision.NOT_APPLICABLE)),
        answered(judged(criteria={"I.1": NOT_MET}, decision=Decision.DOES_NOT_MEET)),
        answered(judged(program=Program.FEP)),
    ],
)
def test_crd_166_never_denied_never_a_portal(said):
    text = (card(said).summary + card(said).detail).lower()
    for word in ("denied", "denial", "does not meet", "portal", "rejected"):
        assert word not in text


def test_the_detail_in_order_to_do_questions_criteria_arithmetic_advice_link_disclaimers():
    detail = card(answered(missing(flags=flags("conflict")))).detail
    places = [
        detail.index(text)
        for text in (
            "**To do:** answer the question below for the prior authorization request.",
            "**Questions still open**",
            "Is life expectancy 3 months or more?",
            "**Criteria of guideline 09-J1000-31**",
            "| Criterion | Status | Evidence |",
            "Sources: Questionnaire 2026-02-20 (QuestionnaireResponse/qr-1)",
            "- morphine 12 mg/d: within the table's 15 mg/d",
            "0.6 mL/d x 20 mg/mL = 12 mg/d",
            "- morphine 20 mg/mL: within the table's 30 mg/mL",
            "Limits from guideline 09-J1000-31: DOSAGE/ADMINISTRATION, table, Morphine.",
            "Approval duration in the guideline: 1 month.",
            "**Good to know** (advice, not criteria)",
            "First-line opioid (first line in the guideline).",
            "Diagnosis code on the guideline's list: G89.28.",
            "Billing: J3490.",
            "contradict each other",
            "[Guideline 09-J1000-31](https://cds.example.org/policies/09-J1000-31)",
            "> Not an authorization (09-J1000-31, Header)",
            "> Informational only",
        )
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("said", "to_do"),
    [
        (answered(judged()), "submit the request for prior authorization; nothing is missing for it."),
        (
            answered(missing(missing_facts=("a", "b"))),
            "answer the 2 questions below for the prior authorization request.",
        ),
        (answered(judged(dose=(dose("16"),))), "give a clinical rationale for the dose; a reviewer reads it."),
        (
            answered(judged(dose=(dose("12", "31"),), criteria={"I.1": NOT_MET})),
            "give a clinical rationale for the concentration and criterion I.1; a reviewer reads it.",
        ),
        (answered(judged(criteria={"stem": NOT_MET})), "give a clinical rationale for the indication"),
        (
            answered(judged(dose=(dose("16", "31"),), criteria={"I.1": NOT_MET, "I.2": NOT_MET})),
            "give a clinical rationale for the dose, the concentration and 2 criteria;",
        ),
        (answered(judged(), on_file=PENDING), "nothing now; the request waits for its decision."),
        (
            answered(missing(program=Program.MEDICARE_ADVANTAGE)),
            "answer the question below for the person who decides.",
        ),
    ],
)
def test_the_detail_opens_with_what_to_do(said, to_do):
    assert card(said).detail.startswith(f"**To do:** {to_do}")


def test_the_points_for_a_rationale_in_full_words():
    detail = card(answered(judged(dose=(dose("16"),), criteria={"I.1": NOT_MET}))).detail
    assert "- morphine 16 mg/d is above the guideline table's 15 mg/d." in detail
    assert "- Not shown by what was found: I.1 Life expectancy is 3 months or more." in detail
    refill = card(
        answered(judged(decision=Decision.INSUFFICIENT_INFORMATION, flags=flags("renewal_criteria_not_stated")))
    )
    assert "- The guideline states no criteria for a refill or renewal." in refill.detail


def test_a_rationale_that_comes_after_the_answers_is_announced_but_not_for_a_mistaken_unit():
    later = "Then a clinical rationale is needed too, for the dose:"
    assert later in card(answered(missing(dose=(dose("16"),)))).detail
    assert later not in card(answered(missing())).detail
    assert later not in card(answered(missing(dose=(dose("16"),), rationale_on_file=True))).detail
    mistaken = card(answered(missing(dose=(dose("150", unit_error=True),))))
    assert later not in mistaken.detail
    assert "(10 times that)" in mistaken.detail


@pytest.mark.parametrize(
    ("code", "subject", "why"),
    [
        ("conflict", "I.1", "contradict each other"),  # a criterion that misses one fact
        ("conflict", "life_expectancy_ge_3_months", "contradict each other"),
        ("stale_attestation", "life_expectancy_ge_3_months", "too old to count"),
    ],
)
def test_a_question_asked_again_says_why(code, subject, why):
    again = missing(flags=(Flag(code, subject),))
    asked = [line for line in card(answered(again)).detail.splitlines() if "Is life expectancy" in line]
    assert len(asked) == 1
    assert why in asked[0]
    assert card(answered(again)).detail.count(why) == 1  # said with the question, not once more below
    other = missing(flags=(Flag(code, "another_fact"),))
    assert why in card(answered(other)).detail
    assert "Is life expectancy 3 months or more?\n" in card(answered(other)).detail


def test_what_could_not_be_read_is_said_with_the_questions():
    assert "not available" in card(answered(missing(flags=flags("incomplete_data")))).detail
    assert "not available" not in card(answered(missing())).detail


def test_a_pending_request_shows_a_due_time_that_a_person_reads():
    due = OnFile(pending=replace(AUTHORIZATION, status="pending", due="2026-03-05T17:00:00-05:00"))
    made = card(answered(judged(), on_file=due))
    assert made.summary.endswith("A decision is due by 2026-03-05 17:00 UTC-05:00")
    assert "T17" not in made.detail


def test_the_same_words_are_not_said_twice_of_a_program():
    for program in (Program.MEDICARE_ADVANTAGE, Program.FEP):
        made = card(answered(missing(program=program)))
        for phrase in ("Medicare Advantage", "erson decides", "Follow FEP"):
            assert made.summary.count(phrase) <= 1
            assert made.detail.partition("**")[0].count(phrase) <= 1
    assert "policies/" not in card(answered(judged(program=Program.FEP))).detail  # another guideline applies


def test_criteria_with_status_evidence_and_date():
    table = "\n".join(criteria_table(TEXTS, missing()))
    assert "| I.1 Life expectancy is 3 months or more | **open** | nothing found |" in table
    assert "appears met | Questionnaire 2026-02-20: answered yes |" in table
    assert GFM.render(table).count("<tr>") == 5


def found(*evidence, status=Truth.MET):
    return CriterionResult(status, tuple(Evidence(*each) for each in evidence))


def test_evidence_is_joined_by_source_and_its_reference_stands_once():
    criteria = {
        "I.1": found(
            ("QuestionnaireResponse/q", "2026-02-20", "Trial: yes"),
            ("QuestionnaireResponse/q", "2026-02-20", "Weeks: 4"),
        ),
        "I.2": found(
            ("MedicationRequest/a", "2026-01-03", "Morphine, 2026-01-03 to 2026-02-01"),
            ("MedicationRequest/b", "2026-02-03", "Morphine, 2026-02-03 to 2026-02-10"),
            ("Condition/c", "2026-02-01", "Discitis"),
            ("Flag/f", None, "seen"),
            status=Truth.NOT_MET,
        ),
        "II.2": found(("Condition/c", "2026-02-01", "Discitis"), ("QuestionnaireResponse/q", "2026-02-20", "Weeks: 4")),
    }
    table = "\n".join(criteria_table(TEXTS, judged(criteria=criteria), "morphine"))
    assert "**Criteria of guideline 09-J1000-31** for morphine\n" in table
    assert "| Questionnaire 2026-02-20: Trial: yes; Weeks: 4 |" in table
    row = next(line for line in table.splitlines() if line.startswith("| I.2"))
    assert row.endswith(
        "| **not shown** | Medication order: Morphine, 2026-01-03 to 2026-02-01. Medication order (2): Morphine, "
        "2026-02-03 to 2026-02-10. Problem list 2026-02-01: Discitis. Flag: seen |"
    )
    assert "| II.2 | appears met | as above |" in table  # what the rows above hold is not said again
    for reference in ("QuestionnaireResponse/q", "MedicationRequest/a", "MedicationRequest/b", "Condition/c"):
        assert table.count(reference) == 1


def test_evidence_is_cut_to_what_a_person_reads():
    many = found(*((f"Condition/{n}", None, "shows") for n in range(12)))
    text = "\n".join(criteria_table(TEXTS, judged(criteria={"I.1": many})))
    assert text.count("Condition/") == 8
    assert "and 4 more" in text


def test_bad_input_93_fhir_text_in_the_detail_is_inert():
    nasty = CriterionResult(Truth.MET, (Evidence(HOSTILE, HOSTILE, HOSTILE),))
    said = answered(judged(criteria={"I.1": nasty}, dose=(dose(ingredient=HOSTILE, steps=(HOSTILE,)),)))
    twice = answered(judged(SECOND))
    made = card(said, twice, orders={DRAFT: order(text=HOSTILE), SECOND: order(SECOND)})
    html = GFM.render(made.detail)
    assert "<img" not in html
    assert html.count("<a ") == 1  # our own link
    assert "javascript:" not in "".join(part for part in html.split('"') if "href" in part)
    assert html.count("<td>") == 3
    assert "<code>" not in html


@given(st.text(max_size=40) | st.text(alphabet="<>[]()`*_~|\\!#&:/.@-+=1aw \n\t", max_size=20))
def test_bad_input_93_whatever_the_evidence_says(text):
    rows = {
        "I.1": found((text, text, text), ("Condition/c", text, text)),
        "I.2": found((f"{text}/x", None, f"x {text}"), (text, None, text), status=Truth.NOT_MET),
    }
    tokens = GFM.parse("\n".join(criteria_table(TEXTS, judged(criteria=rows))))
    assert sum(token.type == "td_open" for token in tokens) == 6
    inside = {child.type for token in tokens for child in token.children or []}
    assert inside <= {"text", "text_special", "strong_open", "strong_close"}


def test_crd_163_several_orders_one_line_each_that_differs():
    same = card(answered(judged()), answered(judged(SECOND)))
    assert same.summary.endswith("(2 orders)")
    assert "For: morphine 20 mg/mL; morphine 20 mg/mL." in same.detail
    assert not same.partial
    differ = card(answered(judged()), answered(missing(SECOND)))
    assert differ.rule == "coverage-missing-facts"  # the most urgent leads
    assert "- morphine 20 mg/mL: Prior authorization: 1 answer needed." in differ.detail
    assert "- morphine 20 mg/mL: Appears to meet" in differ.detail


def test_the_summary_counts_the_orders_of_which_it_is_true():
    assert card(answered(judged()), answered(missing(SECOND))).summary.endswith("(1 of 2 orders)")
    other = {DRAFT: order(), "MedicationRequest/tablets": order("MedicationRequest/tablets")}
    assert card(answered(judged()), orders=other).summary.endswith("(1 of 2 orders)")
    assert "order" not in card(answered(judged())).summary


def test_with_several_orders_the_criteria_say_for_which():
    pump = order(SECOND, text="pump")
    made = card(answered(missing()), answered(judged(SECOND)), orders={DRAFT: order(), SECOND: pump})
    assert "**Criteria of guideline 09-J1000-31** for morphine 20 mg/mL\n" in made.detail
    assert "**Criteria of guideline 09-J1000-31**\n" in card(answered(missing())).detail


def test_the_count_of_orders_is_never_cut_off():
    long = replace(TEXTS, instructions={Program.MEDICARE_ADVANTAGE: "word " * 60})
    said = [answered(missing(source, program=Program.MEDICARE_ADVANTAGE)) for source in (DRAFT, SECOND)]
    made = coverage_card(long, said, {each.order: order(each.order) for each in said}, {})
    assert made.summary.endswith("\N{HORIZONTAL ELLIPSIS} (2 orders)")
    assert len(made.summary) < 140


def test_crd_163_a_card_about_some_of_the_orders():
    made = card(answered(judged()), answered(judged(SECOND, in_scope=False)))
    assert made.partial
    assert made.orders == (DRAFT,)


def test_a_medication_that_travels_along_is_no_order():
    orders = {DRAFT: order(), "Medication/m": order("Medication/m", kind=OrderKind.OTHER)}
    made = card(answered(judged()), orders=orders)
    assert not made.partial
    assert "orders)" not in made.summary


def test_the_form_is_offered_only_where_something_is_to_be_filled_in():
    assert card(answered(missing())).smart == "Answer the open questions"
    assert card(answered(judged(dose=(dose("16"),)))).smart
    assert card(answered(judged())).smart == "Submit the request"


def test_without_authorization_the_criteria_are_advice():
    payer = replace(PAYER, pa_required_by_plan={"G": "no"})
    said = answered(judged(), payer=payer, coverage=replace(OURS, plans=("G",)))
    assert card(said).summary == "No prior authorization needed; appears to meet guideline 09-J1000-31"
    unmet = answered(missing(), payer=payer, coverage=replace(OURS, plans=("G",)))
    assert card(unmet).summary == "No prior authorization needed; guideline 09-J1000-31 as advice"


@pytest.mark.parametrize(
    ("determination", "text"),
    [
        (judged(billing=("J2274",)), "Billing: J2274."),
        (judged(billing=()), "Billing if the drug is compounded: J3490; if it is not: J2274."),
        (judged(tier=Tier("not_addressed")), "The guideline does not speak of this combination of drugs."),
        (missing(program=Program.MEDICARE_ADVANTAGE), "LCD L31254 (likely retired)"),
        (judged(flags=flags("code_conflict")), "J0475 is printed as bupivacaine"),
    ],
)
def test_advice_lines(determination, text):
    assert text in card(answered(determination)).detail


def test_precautions_and_drug_notes_where_they_matter():
    said = answered(judged())
    assert "supervised setting" not in card(said).detail
    changed = card(said, orders={DRAFT: order(prior=("MedicationRequest/old",))})
    assert "Dose changes in a supervised setting" in changed.detail
    hydromorphone = order(
        solution=replace(order().solution, parts=(replace(order().solution.parts[0], name="hydromorphone"),))
    )
    assert "No preservative-free injection" in card(said, orders={DRAFT: hydromorphone}).detail
    unlisted = card(answered(judged(billing=())), orders={DRAFT: hydromorphone}).detail
    assert "if it is not: the guideline lists no code." in unlisted
