"""The words of cards that come from the shipped guideline."""

import pytest

from cds_service.adapters.policy_files import load_configuration
from cds_service.cds_hooks.card_texts import card_texts
from cds_service.domain.determination import Program


@pytest.fixture(scope="module")
def texts(project_root):
    loaded = load_configuration(project_root / "config")
    return card_texts(
        loaded.guidelines[0],
        loaded.payer,
        policy_url="https://cds.example.org/policies/09-J1000-31",
        smart_app_url=None,
        canonical_base="https://cds.example.org/fhir",
    )


def test_a_finding_stands_after_the_print_that_it_is_about(texts):
    """J0475 is printed as bupivacaine; the finding alone would not say what is wrong where."""
    (note,) = texts.flag_notes["code_conflict"]
    assert note.startswith(
        "\N{LEFT DOUBLE QUOTATION MARK}J0475 Injection, bupivacaine, 10 mg\N{RIGHT DOUBLE QUOTATION MARK}: "
    )
    assert note.endswith("(09-J1000-31, BILLING/CODING INFORMATION)")


def test_quotes_of_the_guideline_are_marked_and_cited(texts):
    for quote in (texts.card_disclaimer, texts.dose_disclaimer):
        assert quote.startswith("\N{LEFT DOUBLE QUOTATION MARK}")
        assert "\N{RIGHT DOUBLE QUOTATION MARK} (09-J1000-31, " in quote


def test_a_program_is_named_once_in_its_instructions(texts):
    assert texts.instructions[Program.MEDICARE_ADVANTAGE].count("Medicare Advantage") == 1
    assert "a person decides" not in texts.instructions[Program.MEDICARE_ADVANTAGE]  # answers and cards add it
