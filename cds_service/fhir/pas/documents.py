"""The documents of a stored request, and how each of their files may be handed to a person's browser.

Whoever sends a request chooses what is in them and what they claim to be. A file is shown in the browser only if it is
of a kind that cannot act there and its first bytes say the same as its label; everything else is a download.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from cds_service.fhir.concepts import dicts, label, word
from cds_service.fhir.json import parse
from cds_service.fhir.pas.request import name_of

MAX_BYTES: Final = 100_000_000  # of a stored request
MAX_SHOWN: Final = 10_000_000  # of a file that a browser is to show; what is larger is a download
DOWNLOAD: Final = "application/octet-stream"

Resource = dict[str, Any]

# Kinds that are shown: how their bytes begin, and how a saved file's name ends.
_SHOWN: Final[Mapping[str, tuple[tuple[bytes, ...], str]]] = {
    "application/pdf": ((b"%PDF-",), ".pdf"),
    "image/png": ((b"\x89PNG\r\n\x1a\n",), ".png"),
    "image/jpeg": ((b"\xff\xd8\xff",), ".jpg"),
    "image/gif": ((b"GIF87a", b"GIF89a"), ".gif"),
}
_TEXT: Final = "text/plain"
_ENDINGS: Final = {  # of downloads that an office program opens; others get one that nothing runs
    "application/rtf": ".rtf",
    "text/rtf": ".rtf",
    "application/msword": ".doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "image/tiff": ".tiff",
    "application/dicom": ".dcm",
}
_PAGES: Final = re.compile(r"html|xml|svg|script|mhtml|multipart", re.IGNORECASE)  # saved as text: not opened as a page
_SPACE: Final = re.compile(r"\s+")


class File(msgspec.Struct, frozen=True):
    """One attachment. ``data`` is base64 as it was sent, "" where the file is not in the request."""

    title: str
    kind: str  # media type as declared, lower case, without parameters
    data: str

    @property
    def size(self) -> int:
        """About how many bytes; exact once it is decoded."""
        return len(self.data) * 3 // 4

    @property
    def may_open(self) -> bool:
        """Whether it claims to be something that is shown."""
        return (self.kind == _TEXT or self.kind in _SHOWN) and self.size <= MAX_SHOWN


class Document(msgspec.Struct, frozen=True):
    """A document that the request carries."""

    source: str
    title: str
    kind: str
    date: str
    author: str
    files: tuple[File, ...]


class Handed(msgspec.Struct, frozen=True):
    """A file as it is handed out. ``inline``: the browser may show it. ``ending``: of a saved file's name."""

    content: bytes
    media_type: str
    inline: bool
    ending: str


def read_documents(request: bytes) -> tuple[Document, ...]:
    """The documents of a stored request, in its order: DocumentReferences, then files attached to forms."""
    bundle = parse(request, max_bytes=MAX_BYTES)
    entries = list(dicts(bundle.get("entry"))) if type(bundle) is dict else []
    return documents_of(entries)


def documents_of(entries: list[Resource]) -> tuple[Document, ...]:
    """The same from the entries of a Bundle that was read already."""
    held = [resource for entry in entries if type(resource := entry.get("resource")) is dict]
    named = by_address(entries)
    found = [_document(each, named) for each in held if each.get("resourceType") == "DocumentReference"]
    for each in held:
        if each.get("resourceType") == "QuestionnaireResponse":
            found += _attached(each, named)
    return tuple(found)


def by_address(entries: list[Resource]) -> dict[str, Resource]:
    """The resources of a Bundle by "Type/id" and by fullUrl."""
    found: dict[str, Resource] = {}
    for entry in entries:
        resource = entry.get("resource")
        if type(resource) is dict:
            found[_address(resource)] = found[word(entry.get("fullUrl"))] = resource
    return found


def handed(file: File) -> Handed | None:
    """How a file may be handed out; None where it is not in the request or is no base64."""
    try:
        content = b64decode(_SPACE.sub("", file.data), validate=True)
    except ValueError:
        return None
    if not content:
        return None
    if len(content) <= MAX_SHOWN:
        text = _as_text(content) if file.kind == _TEXT else None
        if text is not None:
            return Handed(text, "text/plain; charset=utf-8", inline=True, ending=".txt")
        begins, ending = _SHOWN.get(file.kind, ((), ""))
        if begins and content.startswith(begins):
            return Handed(content, file.kind, inline=True, ending=ending)
    other = ".txt" if file.kind == _TEXT or _PAGES.search(file.kind) else ".bin"
    ending = _ENDINGS.get(file.kind, other)
    return Handed(content, DOWNLOAD, inline=False, ending=ending)


def _as_text(content: bytes) -> bytes | None:
    """UTF-8, whatever it was: older systems write Latin-1. None for what is no text."""
    if b"\0" in content:
        return None
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1").encode()
    return content


def _document(resource: Resource, named: Mapping[str, Resource]) -> Document:
    files = tuple(_file(each.get("attachment")) for each in dicts(resource.get("content")))
    kind = label(resource.get("type")) or next((label(each) for each in dicts(resource.get("category"))), "")
    return Document(
        source=_address(resource),
        title=next((file.title for file in files if file.title), "") or word(resource.get("description")) or kind,
        kind=kind,
        date=word(resource.get("date"))[:10],
        author=", ".join(filter(None, (author_of(each, resource, named) for each in dicts(resource.get("author"))))),
        files=files,
    )


def _attached(form: Resource, named: Mapping[str, Resource]) -> Iterator[Document]:
    """Files that answer a question of a form."""
    author = form.get("author")
    for file in _files(form):
        yield Document(
            source=_address(form),
            title=file.title or "file",
            kind="attached to the form",
            date=word(form.get("authored"))[:10],
            author=author_of(author, form, named) if type(author) is dict else "",
            files=(file,),
        )


def _files(holder: Resource) -> Iterator[File]:
    for item in dicts(holder.get("item")):
        for answer in dicts(item.get("answer")):
            if type(answer.get("valueAttachment")) is dict:
                yield _file(answer["valueAttachment"])
            yield from _files(answer)
        yield from _files(item)


def _file(attachment: Any) -> File:
    held = attachment if type(attachment) is dict else {}
    kind = word(held.get("contentType")).partition(";")[0].strip().lower()
    return File(word(held.get("title")), kind, word(held.get("data")))


def author_of(reference: Resource, holder: Resource, named: Mapping[str, Resource]) -> str:
    """A person's or organization's name, where the request has one; ``reference`` stands in ``holder``."""
    shown, target = word(reference.get("display")), word(reference.get("reference"))
    if shown:
        return shown
    inside = {f"#{word(each.get('id'))}": each for each in dicts(holder.get("contained"))}
    found = inside.get(target) or named.get(target) or {}
    if found.get("resourceType") == "PractitionerRole":
        found = named.get(word((found.get("practitioner") or {}).get("reference")), {})
    return name_of(found) or word(found.get("name"))


def _address(resource: Resource) -> str:
    return f"{word(resource.get('resourceType'))}/{word(resource.get('id'))}"
