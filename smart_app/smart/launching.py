"""From ``/launch`` to an open launch: begin, come back, prove, open (SM-02, SM-06, SM-07, SM-16 to SM-23, SM-35)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

import msgspec

from smart_app.adapters.ehr_client import EhrClient
from smart_app.adapters.store import AppStore
from smart_app.errors import Relaunch, Trouble
from smart_app.people import banner_of, name_in, npi_in
from smart_app.registry import EhrProfile, Registry
from smart_app.sessions import FhirUser, Launch, PatientBanner
from smart_app.smart import context
from smart_app.smart.authorization import LIFE_MINUTES, LONGEST_LAUNCH, Attempt, authorization_url, name_of, new_attempt
from smart_app.smart.discovery import Discovery, missing_features
from smart_app.smart.id_token import Identity, IdentityKeys, verify
from smart_app.smart.open_launches import OpenLaunches
from smart_app.smart.scopes import about_a_patient, may_save
from smart_app.smart.tokens import TokenEndpoint, TokenResponse

_LOG = logging.getLogger(__name__)


class Begun(msgspec.Struct, frozen=True):
    """An attempt that was just made: its name in paths and cookies, and the secret of the browser that began it."""

    name: str
    binding: str
    ehr: EhrProfile


class Opened(msgspec.Struct, frozen=True):
    """A launch that was just opened, and the secret that opens its pages."""

    launch: Launch
    secret: str


class Launching(msgspec.Struct, frozen=True):
    """The steps that a browser takes from the EHR's link to the first page."""

    registry: Registry
    discovery: Discovery
    endpoint: TokenEndpoint
    identity_keys: IdentityKeys
    store: AppStore
    launches: OpenLaunches
    redirect_uri: str
    now: Callable[[], datetime]
    new_secret: Callable[[], str]

    def begin(self, iss: str, launch: str) -> Begun:
        """Check EHR and value, and keep a new attempt. Nothing is called before ``iss`` is known (row 96).

        Raises:
            Trouble: ``launch_help``, ``ehr_unknown``, ``ehr_lacks``, ``ehr_away``, ``ehr_unusable``.
        """
        ehr = self.registry.ehr_of(iss)
        if ehr is None:
            raise Trouble("ehr_unknown", "iss_not_registered")
        if len(launch) > LONGEST_LAUNCH or not launch.isprintable() or not launch.isascii():
            raise Trouble("launch_help", "launch_value_unusable")
        if not launch and not ehr.standalone:
            raise Trouble("launch_help", "standalone_not_registered")
        found = self.discovery.of(ehr)
        if lacking := missing_features(found, ehr, standalone=not launch):
            raise Trouble("ehr_lacks", "capabilities_missing", details=lacking)
        meant = iss if launch else ehr.iss  # the EHR's own spelling counts; a person's link does not (SM-10)
        attempt = new_attempt(ehr, found, meant, launch, self.new_secret)
        binding = self.new_secret()
        expires = self.now() + timedelta(minutes=LIFE_MINUTES)
        self.store.begin_attempt(attempt.state, binding, ehr.id, msgspec.json.encode(attempt), expires)
        return Begun(name_of(attempt.state), binding, ehr)

    def authorization(self, name: str, binding: str) -> str:
        """The EHR's page to go on at. Raises Trouble ``attempt_over``: this browser has no such attempt."""
        content = self.store.look_at_attempt(name, binding, self.now())
        if content is None:
            raise Trouble("attempt_over", "attempt_unknown")
        attempt = msgspec.json.decode(content, type=Attempt)
        return authorization_url(attempt, self._ehr(attempt), self.redirect_uri)

    def finish(self, answer: Mapping[str, str], binding: str) -> Opened:
        """What the EHR sent back (``state``, ``code``, ``error``, ``iss``) turned into an open launch.

        Raises:
            Trouble: anything is wrong; nothing was opened, and no token is kept.
        """
        content = self.store.take_attempt(answer.get("state", ""), binding, self.now())
        if content is None:
            raise Trouble("attempt_over", "state_refused")
        attempt = msgspec.json.decode(content, type=Attempt)
        ehr = self._ehr(attempt)
        again = _again(attempt)
        self._check_callback(answer, attempt, again)
        try:
            response = self.endpoint.exchange(
                ehr,
                attempt.configuration,
                code=answer["code"],
                verifier=attempt.verifier,
                redirect_uri=self.redirect_uri,
            )
            return self._open(ehr, attempt, response)
        except Trouble as trouble:
            if trouble.kind in {"ehr_away", "registration", "code_refused"}:
                self.discovery.forget(ehr)  # SM-08
            trouble.again = trouble.again or again
            raise

    def _check_callback(self, answer: Mapping[str, str], attempt: Attempt, again: str) -> None:
        told = answer.get("iss")
        if told != attempt.configuration.issuer and (told is not None or attempt.configuration.names_issuer):
            raise Trouble(
                "attempt_over", "issuer_mixed_up", details=("The answer is not from the EHR that was asked.",)
            )
        if "error" in answer:
            details = tuple(filter(None, (answer["error"][:100], answer.get("error_description", "")[:500])))
            raise Trouble("ehr_refused", "authorization_error", details=details, again=again)
        if not answer.get("code"):
            raise Trouble("attempt_over", "no_code")

    def _ehr(self, attempt: Attempt) -> EhrProfile:
        ehr = self.registry.ehrs.get(attempt.ehr)
        if ehr is None or not ehr.enabled:
            raise Trouble("ehr_unknown", "ehr_no_longer_registered")
        return ehr

    def _open(self, ehr: EhrProfile, attempt: Attempt, response: TokenResponse) -> Opened:
        if not response.id_token:
            raise Trouble("not_identified", "id_token_missing", details=("It is missing.",))
        identity = verify(
            response.id_token, self.identity_keys, ehr, attempt.configuration, nonce=attempt.nonce, now=self.now()
        )
        launch = self._launch(ehr, attempt, response, identity)
        secret = self.new_secret()
        self.launches.open(launch, response.tokens, secret, identity.subject)
        return Opened(launch, secret)

    def _launch(self, ehr: EhrProfile, attempt: Attempt, response: TokenResponse, identity: Identity) -> Launch:
        members = response.members
        patient = context.id_of(members, "patient", "Patient")
        if not patient:
            reason = "patient_scope_without_patient" if about_a_patient(response.scopes) else "no_patient"
            raise Trouble("no_patient", reason)
        app_context = context.app_context(members)
        context.refuse_other_patient(app_context, patient)
        if more := set(response.scopes) - set(attempt.scopes):
            _LOG.info("the EHR granted more than was asked for", extra={"ehr": ehr.id, "count": len(more)})
        client = EhrClient(self.endpoint.outbound, ehr, lambda refused: _only(response.tokens.access, refused))
        banner, user = self._people(client, patient, identity)
        return Launch(
            id=self.new_secret()[:32],
            ehr=ehr.id,
            patient=patient,
            encounter=context.id_of(members, "encounter", "Encounter"),
            fhir_context=context.read_fhir_context(members.get("fhirContext"), ehr),
            app_context=app_context,
            user=user,
            scopes=response.scopes,
            need_patient_banner=members.get("need_patient_banner") is not False,
            mode="full" if may_save(response.scopes) else "download_only",
            intent=context.text_of(members, "intent"),
            tenant=context.text_of(members, "tenant"),
            smart_style_url=context.text_of(members, "smart_style_url"),
            banner=banner,
            standalone=attempt.standalone,
        )

    def _people(self, client: EhrClient, patient: str, identity: Identity) -> tuple[PatientBanner, FhirUser]:
        """Both as the EHR's resources say; what it does not show stays empty, and nothing fails for it."""
        try:
            shown = client.read(f"Patient/{patient}").one
            person = client.read(identity.reference).one
        except Relaunch:  # a token that the EHR's own API refuses at once
            raise Trouble("token_unusable", "token_refused_at_once") from None
        user = FhirUser(identity.reference, name_in(person) or identity.name, npi_in(person))
        return banner_of(shown), user


def _again(attempt: Attempt) -> str:
    values = {"iss": attempt.iss, **({"launch": attempt.launch} if attempt.launch else {})}
    return f"/launch?{urlencode(values)}"


def _only(token: str, refused: str) -> str:
    if refused:
        raise Relaunch("refused_at_once")
    return token
