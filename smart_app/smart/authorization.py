"""The authorization request: what is sent to the EHR, and what is remembered of it (SM-09 to SM-16)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from urllib.parse import urlencode

import msgspec
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from smart_app.registry import EhrProfile
from smart_app.smart.discovery import SmartConfiguration
from smart_app.smart.scopes import asked_scopes

LIFE_MINUTES = 10  # SM-16
LONGEST_LAUNCH = 4_096  # characters of the EHR's opaque launch value


class Attempt(msgspec.Struct, frozen=True):
    """One authorization request on its way; kept sealed under its state until its callback takes it."""

    ehr: str
    iss: str  # as the EHR wrote it
    launch: str  # byte for byte; "": standalone
    state: str
    verifier: str
    nonce: str
    scopes: tuple[str, ...]
    configuration: SmartConfiguration  # the code goes to the token endpoint of this one, whatever comes back (row 100)

    @property
    def standalone(self) -> bool:
        """Whether no EHR opened the app."""
        return not self.launch


def new_attempt(
    ehr: EhrProfile, found: SmartConfiguration, iss: str, launch: str, new_secret: Callable[[], str]
) -> Attempt:
    """A request with state, verifier and nonce of its own (256 bits each, SM-11, SM-12)."""
    return Attempt(
        ehr=ehr.id,
        iss=iss,
        launch=launch,
        state=new_secret(),
        verifier=new_secret(),
        nonce=new_secret(),
        scopes=asked_scopes(ehr, standalone=not launch, v2=found.v2),
        configuration=found,
    )


def name_of(state: str) -> str:
    """The name of an attempt in paths and cookie names: tells nobody its state."""
    return hashlib.sha256(state.encode()).hexdigest()


def challenge_of(verifier: str) -> str:
    """PKCE's S256 (SM-12): base64url of the SHA-256, without padding."""
    return str(create_s256_code_challenge(verifier))


def authorization_url(attempt: Attempt, ehr: EhrProfile, redirect_uri: str) -> str:
    """Where the browser is sent: always by GET (SM-15), with exactly the parameters of SM-09."""
    parameters = {
        "response_type": "code",
        "client_id": ehr.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(attempt.scopes),
        "state": attempt.state,
        "aud": attempt.iss,
        "code_challenge": challenge_of(attempt.verifier),
        "code_challenge_method": "S256",
        "nonce": attempt.nonce,
    }
    if attempt.launch:
        parameters["launch"] = attempt.launch
    endpoint = attempt.configuration.authorization_endpoint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"
