"""Documents of a stored request: who wrote them, and what a browser may be handed of files that strangers chose."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from cds_service.fhir.pas.documents import MAX_SHOWN, File, handed, read_documents
from cds_service.web.review.document_pages import disposition

PDF, PNG, JPEG = b"%PDF-1.4\n...", b"\x89PNG\r\n\x1a\n....", b"\xff\xd8\xff\xe0...."
PAGE = b"<html><script>alert(1)</script></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'


def file(kind: str, content: bytes) -> File:
    return File("a title", kind, b64encode(content).decode())


@pytest.mark.parametrize(
    ("kind", "content", "media_type", "ending"),
    [
        ("text/plain", b"Visit of 14 February.", "text/plain; charset=utf-8", ".txt"),
        ("text/plain", "Schmerz: stärker".encode("latin-1"), "text/plain; charset=utf-8", ".txt"),
        ("text/plain", PAGE, "text/plain; charset=utf-8", ".txt"),  # shown as its letters, never guessed to be a page
        ("application/pdf", PDF, "application/pdf", ".pdf"),
        ("image/png", PNG, "image/png", ".png"),
        ("image/jpeg", JPEG, "image/jpeg", ".jpg"),
        ("image/gif", b"GIF89a....", "image/gif", ".gif"),
    ],
)
def test_what_cannot_act_is_shown_under_its_own_type(kind: str, content: bytes, media_type: str, ending: str) -> None:
    given = handed(file(kind, content))
    assert given is not None
    assert (given.media_type, given.inline, given.ending) == (media_type, True, ending)


@pytest.mark.parametrize(
    ("kind", "content", "ending"),
    [
        ("text/html", PAGE, ".txt"),
        ("application/xhtml+xml", PAGE, ".txt"),
        ("image/svg+xml", SVG, ".txt"),
        ("text/xml", b"<ClinicalDocument/>", ".txt"),
        ("text/javascript", b"alert(1)", ".txt"),
        ("message/mhtml", PAGE, ".txt"),
        ("application/pdf", PAGE, ".bin"),  # says one thing and is another
        ("image/png", SVG, ".bin"),
        ("image/png", PDF, ".bin"),
        ("application/pdf", b"\n" + PDF, ".bin"),
        ("text/plain", b"MZ\0\0", ".txt"),
        ("application/x-msdownload", b"MZ\0\0", ".bin"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"PK\3\4", ".docx"),
        ("", PAGE, ".bin"),
        ("text/plain\r\nSet-Cookie: a=b", b"x", ".bin"),
        ("application/pdf", PDF + b"." * MAX_SHOWN, ".bin"),
    ],
)
def test_bad_input_109_everything_else_is_a_download_that_no_program_takes_for_a_page(
    kind: str, content: bytes, ending: str
) -> None:
    given = handed(file(kind, content))
    assert given is not None
    assert (given.media_type, given.inline, given.ending) == ("application/octet-stream", False, ending)
    assert given.content == content


@pytest.mark.parametrize("data", ["", "YW*Jj", "YQ", "a" * 5, "YWJj\u00e9"])
def test_what_is_not_there_or_no_base64_is_not_handed_out(data: str) -> None:
    assert handed(File("t", "text/plain", data)) is None


def test_base64_may_be_broken_into_lines() -> None:
    given = handed(File("t", "text/plain", "YWJj\r\n ZGVm\n"))
    assert given is not None
    assert given.content == b"abcdef"


@pytest.mark.parametrize(
    ("title", "named"),
    [
        ("Consult.pdf", 'inline; filename="Consult.txt"; '),
        ('a"; filename="evil.exe', 'inline; filename="a filename evil.txt"; '),
        ("../../etc/passwd", 'inline; filename="etc passwd.txt"; '),
        ("line\r\nSet-Cookie: a=b", 'inline; filename="line Set-Cookie a b.txt"; '),
        ("\u202egpj.exe", 'inline; filename="gpj.txt"; '),
        ("", 'inline; filename="document.txt"; '),
        ("診断書", 'inline; filename="document.txt"; '),
        ("x" * 500, f'inline; filename="{"x" * 80}.txt"; '),
    ],
)
def test_bad_input_109_a_file_name_is_letters_and_the_ending_is_ours(title: str, named: str) -> None:
    said = disposition(title, ".txt", inline=True)
    assert said.startswith(named)
    assert said.isascii()
    assert said.isprintable()


def test_documents_are_told_with_type_date_and_author() -> None:
    author = {"resourceType": "Practitioner", "id": "p", "name": [{"given": ["Ada"], "family": "Field"}]}
    role = {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "Practitioner/p"}}
    inside = {"resourceType": "Organization", "id": "o", "name": "Spine Clinic"}

    def document(number: int, author: Any, **more: Any) -> dict[str, Any]:
        return {"resourceType": "DocumentReference", "id": f"d{number}", "author": author} | more

    note = {"contentType": "Text/Plain; charset=utf-8", "title": "Visit note", "data": "YQ=="}
    form = {
        "resourceType": "QuestionnaireResponse",
        "id": "q",
        "authored": "2026-03-01T09:00:00Z",
        "author": {"reference": "https://ehr.example.org/fhir/Practitioner/p"},
        "item": [{"linkId": "a", "item": [{"linkId": "b", "answer": [{"valueAttachment": note}]}]}],
    }
    held = [
        author,
        role,
        document(1, [{"reference": "Practitioner/p"}, {"display": "Dr. Roe"}], date="2026-02-20T10:00:00Z",
                 type={"text": "Progress note"}, content=[{"attachment": note}]),
        document(2, [{"reference": "#o"}], contained=[inside], description="Scan", content=[{"attachment": {}}]),
        document(3, [{"reference": "PractitionerRole/r"}], content="wrong", category=[7]),
        document(4, "wrong"),
        form,
    ]  # fmt: skip
    entries = [
        {"fullUrl": f"https://ehr.example.org/fhir/{each['resourceType']}/{each['id']}", "resource": each}
        for each in held
    ]
    found = read_documents(json.dumps({"resourceType": "Bundle", "entry": entries}).encode())
    assert [(each.title, each.kind, each.date, each.author) for each in found] == [
        ("Visit note", "Progress note", "2026-02-20", "Ada Field, Dr. Roe"),
        ("Scan", "", "", "Spine Clinic"),
        ("", "", "", "Ada Field"),
        ("", "", "", ""),
        ("Visit note", "attached to the form", "2026-03-01", "Ada Field"),
    ]
    assert [len(each.files) for each in found] == [1, 1, 0, 0, 1]
    assert found[0].files[0].kind == "text/plain"
