"""How the authorization server says no (RFC 6749 5.2 and 4.1.2.1)."""

from __future__ import annotations


class Refusal(Exception):
    """An OAuth error: ``error`` is the RFC's code, ``text`` says what was wrong and never repeats what was sent."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.error = error
        self.text = text

    @property
    def status(self) -> int:
        """HTTP status at the token endpoint."""
        return 401 if self.error == "invalid_client" else 400


class NotRedirectable(Exception):
    """The client or its redirect address is not known: the browser is sent nowhere, a page says so."""
