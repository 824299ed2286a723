"""The app's cookies (SM-25, rows 104 and 107): one for each attempt to sign in, one for each open launch.

Over TLS: ``__Host-``, Secure, HttpOnly, Path=/; in a frame SameSite=None and Partitioned, in a window of its own
SameSite=Lax. Browsers say which of both in ``Sec-Fetch-Dest``; where they do not, the frame's kind works in both.
On plain http of one's own machine (``--insecure-dev`` only) browsers keep no such cookies: there they are SameSite=Lax
without Secure and prefix, which works in a frame too, as long as both pages are on the same host name.
"""

from __future__ import annotations

from flask import Request
from werkzeug.wrappers import Response

ATTEMPT_SECONDS = 600


class Cookies:
    """Names and attributes for one deployment."""

    def __init__(self, *, over_tls: bool) -> None:
        """``over_tls``: whether browsers reach the app over https."""
        self._over_tls = over_tls
        prefix = "__Host-" if over_tls else ""
        self._attempt, self._launch = f"{prefix}smart-attempt-", f"{prefix}smart-launch-"

    def binding(self, request: Request, name: str) -> str:
        """The secret of an attempt that this browser began, "" where it sent none."""
        return request.cookies.get(self._attempt + name[:16], "")

    def secret(self, request: Request, launch_id: str) -> str:
        """The secret of a launch that this browser has open, "" where it sent none."""
        return request.cookies.get(self._launch + launch_id, "")

    def launches(self, request: Request) -> tuple[str, ...]:
        """Ids of the launches whose cookies came along."""
        names = (name for name in request.cookies if name.startswith(self._launch))
        return tuple(name.removeprefix(self._launch) for name in names)

    def give_binding(self, request: Request, response: Response, name: str, secret: str) -> None:
        """For an attempt's ten minutes."""
        self._give(request, response, self._attempt + name[:16], secret, ATTEMPT_SECONDS)

    def give_secret(self, request: Request, response: Response, launch_id: str, secret: str) -> None:
        """Until the browser closes; how long it is good for, the server decides."""
        self._give(request, response, self._launch + launch_id, secret, None)

    def take_binding(self, request: Request, response: Response, name: str) -> None:
        """The attempt is over."""
        self._give(request, response, self._attempt + name[:16], "", 0)

    def take_secret(self, request: Request, response: Response, launch_id: str) -> None:
        """The launch is over."""
        self._give(request, response, self._launch + launch_id, "", 0)

    def _give(self, request: Request, response: Response, name: str, value: str, seconds: int | None) -> None:
        own_window = request.headers.get("Sec-Fetch-Dest") == "document"
        framed = self._over_tls and not own_window
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path="/",
            secure=self._over_tls,
            httponly=True,
            samesite="None" if framed else "Lax",
            partitioned=framed,
        )
