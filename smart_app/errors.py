"""What a person can meet that keeps the form from going on. Each is shown as a page, never as a stack trace.

The words of each page are in ``web/error_pages.py``; here are only the kinds. Nothing here holds a token, a code, a
patient or a text that somebody sent: ``reason`` is a word of ours, safe for the log.
"""

from __future__ import annotations


class Trouble(Exception):
    """The page ``kind`` of ``web.error_pages.PAGES`` is shown."""

    def __init__(self, kind: str, reason: str = "", *, details: tuple[str, ...] = (), again: str = "") -> None:
        """``details`` are plain lines to show (escaped), ``again`` a path of ours that tries once more."""
        super().__init__(f"{kind} {reason}".strip())
        self.kind = kind
        self.reason = reason
        self.details = details
        self.again = again


class Relaunch(Trouble):
    """The EHR's permission is gone for good: the app must be opened again from the EHR. Drafts are kept (SM-42)."""

    def __init__(self, reason: str) -> None:
        super().__init__("token_expired", reason)


class FormChanged(Exception):
    """``AppStore.keep_form``: the form was kept elsewhere since it was read (another tab, a double click)."""
