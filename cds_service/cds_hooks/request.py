"""From the body of a hook call to a HookRequest (cds-hooks-crd A.3, A.4, B.5; reliability 51-58, 72).

Unknown elements and extensions are ignored; a missing or wrong one that we need is refused with its path, never
with its content. Prefetch keeps absent, null and value apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.cds_hooks.drafts import Draft, Limits, read_dispatched, read_drafts
from cds_service.cds_hooks.options import DEFAULT_OPTIONS, Options, read_options
from cds_service.cds_hooks.services import CRD_VERSIONS, Service
from cds_service.errors import MalformedRequest, PatientMismatch, RuleBroken
from cds_service.fhir.json import parse

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ID = re.compile(r"[A-Za-z0-9._-]{1,255}")  # FHIR's 64 are too few for some EHRs
_TYPE_ID = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9._-]{1,255}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_SERVER = re.compile(r"https?://[\x21-\x7e]{1,2048}")
DEFAULT_LIMITS = Limits()


class FhirAuthorization(msgspec.Struct, frozen=True):
    """What the EHR lends us for this call. Never stored, never logged (cds-hooks-crd 19, 20)."""

    access_token: str
    scope: str
    expires_in: int
    subject: str = ""
    patient: str = ""

    def __repr__(self) -> str:
        """Without the token."""
        return "FhirAuthorization(...)"


class HookRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One hook call. ``drafts`` are the resources of draftOrders, or the dispatched orders found in prefetch."""

    service: Service
    hook_instance: str  # lower case
    patient_id: str
    user_id: str | None
    encounter_id: str | None
    drafts: tuple[Draft, ...]
    prefetch: Mapping[str, Any]  # key absent: not sent; None: the EHR looked and found nothing
    fhir_server: str | None = None
    authorization: FhirAuthorization | None = None
    options: Options = DEFAULT_OPTIONS
    requested_version: str | None = None
    selections: tuple[str, ...] = ()
    dispatched: tuple[str, ...] = ()  # order-dispatch: "Type/id" of every dispatched order
    performer: str = ""

    def version(self, default: str) -> str:
        """CRD version of the answer: the one asked for, else the client's (cds-hooks-crd 124)."""
        return self.requested_version or default


def parse_request(body: bytes, *, service: Service, limits: Limits = DEFAULT_LIMITS) -> HookRequest:
    """Read one call of ``service``.

    Raises MalformedRequest (not JSON, hooks or FHIR broken), RuleBroken (unknown CRD version; or a 2.0 client that
    asked for 2.0, where all but bad JSON is 422), TooLarge (bytes or entries), PatientMismatch (reliability 72).
    """
    root = parse(body, max_bytes=limits.max_bytes)
    if not isinstance(root, dict):
        raise MalformedRequest("the request body must be a JSON object")
    extension = root.get("extension")
    requested = _requested_version(extension)
    try:
        return _read(root, body, service, limits, requested)
    except PatientMismatch:
        raise
    except MalformedRequest as error:
        if requested == "2.0":
            raise RuleBroken(error.diagnostics, expression=error.expression) from error
        raise


def _read(root: dict[str, Any], body: bytes, service: Service, limits: Limits, requested: str | None) -> HookRequest:
    if root.get("hook") != service.hook:
        raise MalformedRequest(f"hook must be {service.hook} at this address", expression="hook")
    instance = root.get("hookInstance")
    if not isinstance(instance, str) or not _UUID.fullmatch(instance):
        raise MalformedRequest("hookInstance must be a UUID", expression="hookInstance")
    context = root.get("context")
    if not isinstance(context, dict):
        raise MalformedRequest("context must be an object", expression="context")
    prefetch = root.get("prefetch")
    if not isinstance(prefetch, dict | None):
        raise MalformedRequest("prefetch must be an object", expression="prefetch")
    patient_id = _text(context, "patientId", _ID, "a bare resource id")
    server = _fhir_server(root)
    dispatch = service.hook == "order-dispatch"
    dispatched = _dispatched(context) if dispatch else ()
    found = prefetch or {}
    return HookRequest(
        service=service,
        hook_instance=instance.lower(),
        patient_id=patient_id,
        user_id=None if dispatch else _text(context, "userId", _TYPE_ID, "Type/id"),
        encounter_id=_optional(context, "encounterId", _ID, "a bare resource id"),
        drafts=read_dispatched(found, body, dispatched) if dispatch else read_drafts(context, body, limits),
        prefetch=found,
        fhir_server=server,
        authorization=_authorization(root, server, patient_id),
        options=_options(root),
        requested_version=requested,
        selections=_references(context, "selections") if service.hook == "order-select" else (),
        dispatched=dispatched,
        performer=_text(context, "performer", _TYPE_ID, "Type/id") if dispatch else "",
    )


def _options(root: dict[str, Any]) -> Options:
    extension = root.get("extension")
    return read_options(extension.get("davinci-crd.configuration")) if isinstance(extension, dict) else DEFAULT_OPTIONS


def _requested_version(extension: object) -> str | None:
    """``davinci-crd.requestedVersion``; a version we do not speak is a broken CRD rule (cds-hooks-crd 124)."""
    if not isinstance(extension, dict) or (version := extension.get("davinci-crd.requestedVersion")) is None:
        return None
    if version not in CRD_VERSIONS:
        raise RuleBroken(
            f"the CRD version asked for is not offered; there are {' and '.join(CRD_VERSIONS)}",
            expression="extension.davinci-crd.requestedVersion",
        )
    return str(version)


def _text(context: dict[str, Any], name: str, pattern: re.Pattern[str], shape: str) -> str:
    value = context.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise MalformedRequest(f"context.{name} must be {shape}", expression=f"context.{name}")
    return value


def _optional(context: dict[str, Any], name: str, pattern: re.Pattern[str], shape: str) -> str | None:
    return None if context.get(name) is None else _text(context, name, pattern, shape)


def _references(context: dict[str, Any], name: str) -> tuple[str, ...]:
    values = context.get(name)
    if not isinstance(values, list) or not all(isinstance(v, str) and _TYPE_ID.fullmatch(v) for v in values):
        raise MalformedRequest(f"context.{name} must be a list of Type/id", expression=f"context.{name}")
    return tuple(values)


def _dispatched(context: dict[str, Any]) -> tuple[str, ...]:
    """Both shapes: dispatchedOrders (1.1) and the older single ``order`` (cds-hooks-crd 27, 28)."""
    if "dispatchedOrders" not in context and "order" in context:
        return (_text(context, "order", _TYPE_ID, "Type/id"),)
    orders = _references(context, "dispatchedOrders")
    if not orders:
        raise MalformedRequest("context.dispatchedOrders must name an order", expression="context.dispatchedOrders")
    return orders


def _fhir_server(root: dict[str, Any]) -> str | None:
    server = root.get("fhirServer")
    if server is not None and (not isinstance(server, str) or not _SERVER.fullmatch(server)):
        raise MalformedRequest("fhirServer must be an http(s) URL", expression="fhirServer")
    return server


def _authorization(root: dict[str, Any], server: str | None, patient_id: str) -> FhirAuthorization | None:
    """The lent token, or None where there is none that can be used (reliability 57, 58, 72)."""
    lent = root.get("fhirAuthorization")
    if lent is None:
        return None
    if not isinstance(lent, dict):
        raise MalformedRequest("fhirAuthorization must be an object", expression="fhirAuthorization")
    if server is None:
        raise MalformedRequest("fhirAuthorization needs fhirServer", expression="fhirServer")
    token, scope, lasts = lent.get("access_token"), lent.get("scope", ""), lent.get("expires_in")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise MalformedRequest("access_token must be printable ASCII", expression="fhirAuthorization.access_token")
    if lent.get("token_type") != "Bearer":
        raise MalformedRequest("token_type must be Bearer", expression="fhirAuthorization.token_type")
    if not isinstance(scope, str):
        raise MalformedRequest("scope must be a string", expression="fhirAuthorization.scope")
    patient = lent.get("patient")
    if patient is not None and patient != patient_id:
        raise PatientMismatch("the access token is for another patient", expression="fhirAuthorization.patient")
    if not isinstance(lasts, int) or isinstance(lasts, bool) or lasts <= 0:
        return None
    subject = lent.get("subject")
    return FhirAuthorization(token, scope, lasts, subject if isinstance(subject, str) else "", patient or "")
