"""The pages of everything that can go wrong: what happened, what to do, and a reference for whoever is asked.

The words are for clinicians: short, plain, and never about anybody's fault.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec
from flask import Flask, g, render_template
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from smart_app.adapters.sealing import Unreadable
from smart_app.errors import FormChanged, Trouble

_LOG = logging.getLogger(__name__)
_FROM_EHR = "Please open the app again from the patient's chart."


class Sorry(msgspec.Struct, frozen=True):
    """One page. ``steps`` are what to do, in order."""

    status: int
    heading: str
    happened: str
    steps: tuple[str, ...]
    new_window: bool = False  # its link opens a window of its own
    level: int = logging.INFO


PAGES: Mapping[str, Sorry] = {
    # -- the way in
    "launch_help": Sorry(
        400,
        "Please open this app from the EHR",
        "The link did not say which EHR and which patient it is for.",
        ("Open the patient's chart, and use the link on the coverage card or the EHR's list of apps.",),
    ),
    "ehr_unknown": Sorry(
        400,
        "This EHR is not registered here",
        "The link names an EHR that this app does not know, so nothing was sent to it.",
        ("If you came from your own EHR, tell its administrators the reference below: they can register it.",),
        level=logging.WARNING,
    ),
    "ehr_lacks": Sorry(
        502,
        "This EHR lacks something that the app needs",
        "The app asked the EHR what it can do. This is missing:",
        ("Tell the EHR's administrators. Until it is there, please answer the payer's questions on another way.",),
        level=logging.ERROR,
    ),
    "ehr_unusable": Sorry(
        502,
        "This EHR's settings cannot be used",
        "What the EHR says about itself does not fit with how it is registered here. Nobody was signed in.",
        ("Tell the EHR's administrators the reference below.",),
        level=logging.ERROR,
    ),
    "ehr_away": Sorry(
        502,
        "The EHR did not answer",
        "The app could not reach the EHR, or did not get an answer in time. What you have entered is kept.",
        ("Wait a moment and try again.", "If it stays so, tell the EHR's administrators the reference below."),
        level=logging.WARNING,
    ),
    "own_window": Sorry(
        200,
        "Please go on in a window of its own",
        "This EHR's sign-in page cannot be shown inside another page.",
        ("Use the link below. The chart stays open here.",),
        new_window=True,
    ),
    "cookies_blocked": Sorry(
        400,
        "Please go on in a window of its own",
        "This browser does not let the app keep a cookie inside the EHR's window. Without it the app cannot tell "
        "whose page this is.",
        ("Use the link below, or open the app again from the chart and choose a new window.",),
        new_window=True,
    ),
    "attempt_over": Sorry(
        400,
        "This sign-in is no longer valid",
        "It was used already, took longer than ten minutes, or was begun in another browser. Nobody was signed in.",
        (_FROM_EHR,),
        level=logging.WARNING,
    ),
    "ehr_refused": Sorry(
        403,
        "The EHR did not give permission",
        "The EHR ended the sign-in. Nothing was read from the chart. It says:",
        ("If you chose not to allow it, nothing needs to be done.", "Otherwise try again."),
        level=logging.WARNING,
    ),
    "registration": Sorry(
        502,
        "The EHR did not accept this app",
        "This is a matter of how the app is registered at the EHR, not of your account.",
        ("Tell the EHR's administrators the reference below.",),
        level=logging.ERROR,
    ),
    "code_refused": Sorry(
        400,
        "The EHR took its permission back",
        "The EHR did not accept the sign-in that it had just given. Nobody was signed in.",
        (_FROM_EHR,),
        level=logging.WARNING,
    ),
    "token_unusable": Sorry(
        502,
        "The EHR's answer was incomplete",
        "The sign-in worked, but what the EHR then sent cannot be used. Nobody was signed in.",
        ("Try again.", "If it stays so, tell the EHR's administrators the reference below."),
        level=logging.ERROR,
    ),
    "not_identified": Sorry(
        401,
        "The app could not make sure who you are",
        "The EHR's proof of who is signed in is missing or not right, so the form was not opened.",
        (_FROM_EHR, "If it stays so, tell the EHR's administrators the reference below."),
        level=logging.ERROR,
    ),
    "no_patient": Sorry(
        409,
        "No patient was chosen",
        "The EHR signed you in, but did not say whose chart this is about.",
        ("Open a patient's chart first, and then the app from there.",),
        level=logging.WARNING,
    ),
    "patient_mismatch": Sorry(
        409,
        "This form is about another patient",
        "The open chart and the payer's questions are about two different patients, so nothing was shown or saved.",
        ("Close this window.", "Open the chart of the patient whose order this is, and use the link on its card."),
        level=logging.ERROR,
    ),
    # -- an open launch
    "token_expired": Sorry(
        401,
        "The EHR's permission has run out",
        "The app can no longer read or save for you. What you have entered is kept.",
        (f"{_FROM_EHR} It offers to go on where you stopped.",),
    ),
    "session_ended": Sorry(
        401,
        "This session has ended",
        "You have signed out, nobody has used it for a while, or it was opened in another browser.",
        (f"{_FROM_EHR} What was entered before is offered there again.",),
    ),
    "not_from_here": Sorry(
        403,
        "That did not come from this app's own page",
        "To protect the chart, the app takes entries from its own pages only. Nothing was changed.",
        ("Go back, load the page again, and repeat your last step.",),
        level=logging.WARNING,
    ),
    "draft_changed": Sorry(
        409,
        "The form was changed somewhere else",
        "Somebody, or you in another window, has saved this form since this page was opened. Nothing was overwritten.",
        ("Load the form again to see the newest answers.", "Then enter your last change once more."),
    ),
    "save_refused": Sorry(
        502,
        "The EHR did not save it",
        "Your answers are kept here, but the EHR would not take them.",
        ("Try again, or download the answers.", "If it stays so, tell the EHR's administrators the reference below."),
        level=logging.ERROR,
    ),
    # -- the payer
    "payer_away": Sorry(
        502,
        "The payer did not answer",
        "The payer's questions could not be fetched. The order itself is not held up, and what you entered is kept.",
        ("Wait a moment and try again.", "If it stays so, call the payer, or answer its questions on another way."),
        level=logging.WARNING,
    ),
    "payer_refused": Sorry(
        502,
        "The payer did not accept the request",
        "The payer answered, but did not give its questions.",
        ("Try again later.", "If it stays so, tell the app's administrators the reference below."),
        level=logging.ERROR,
    ),
    "payer_declined": Sorry(
        502,
        "The payer cannot give its questions for this order",
        "The payer understood the request and says:",
        ("Put right what it names, for example in the order or the coverage, and open the app again.",),
        level=logging.WARNING,
    ),
    "payer_unreadable": Sorry(
        502,
        "The payer's answer could not be read",
        "The payer answered with something that is no list of questions. What you entered is kept.",
        ("Try again later.", "If it stays so, tell the app's administrators the reference below."),
        level=logging.ERROR,
    ),
    "form_expired": Sorry(
        502,
        "The payer's form is out of date",
        "The payer sent only a form that it no longer uses, so it was not opened. The payer may still want answers.",
        ("Try again later.", "If it stays so, call the payer, or answer its questions on another way."),
        level=logging.WARNING,
    ),
    "payer_unknown": Sorry(
        404,
        "This payer is not registered here",
        "The patient's coverage names a payer that this app does not know.",
        ("Answer the payer's questions on the way you used before.", "Tell the app's administrators the reference."),
        level=logging.WARNING,
    ),
    "payer_hidden": Sorry(
        409,
        "The EHR does not show who the payer is",
        "The patient's coverage refers to a payer that the EHR does not let this app read, so nobody was asked.",
        (
            "Tell the EHR's administrators the reference below.",
            "Until then answer the payer's questions on another way.",
        ),
        level=logging.WARNING,
    ),
    "coverage_hidden": Sorry(
        409,
        "The EHR does not show the coverage",
        "The app could not see which coverage the patient has, so it does not know which payer to ask.",
        ("Open the app again.", "If it stays so, tell the EHR's administrators the reference below."),
        level=logging.WARNING,
    ),
    "order_unread": Sorry(
        409,
        "The order could not be read",
        "The EHR does not show the order that this is about, and nothing else says what the payer asks for it.",
        (
            "Save or sign the order in the EHR, then open the app again.",
            "If it stays so, tell the EHR's administrators the reference below.",
        ),
        level=logging.WARNING,
    ),
    "coverage_missing": Sorry(
        409,
        "No coverage was found",
        "The chart shows no coverage that is in force today, so the app does not know which payer to ask.",
        ("Enter the coverage in the chart, then open the app again.",),
    ),
    "form_unusable": Sorry(
        502,
        "This form cannot be answered here",
        "The payer's form needs something that this app cannot do faithfully. The payer was told, without any data of "
        "the patient:",
        ("Answer the payer's questions on the way you used before.",),
        level=logging.ERROR,
    ),
    "no_such_form": Sorry(
        404,
        "This form is not open here",
        "The address names a form that this session does not have.",
        ("Open the app again from the patient's chart.",),
    ),
    "no_form_needed": Sorry(
        200,
        "No questions to answer",
        "The payer needs no further information for this order.",
        (
            "Sign the order, if it is not signed yet.",
            "If it needs an authorization, ask for it here once it is signed.",
        ),
    ),
    # -- the app itself
    # -- prior authorization
    "cannot_submit": Sorry(
        409,
        "The request cannot be sent yet",
        "Something is missing that the payer needs. Nothing was sent.",
        ("Go back, put it right, and submit again. If you cannot, tell the app's administrators the reference below.",),
    ),
    "nothing_new": Sorry(
        409,
        "There is nothing new to send",
        "The payer has every form that is signed. Nothing was sent.",
        ("Finish and sign the form first, then send the answers.",),
    ),
    "not_found": Sorry(404, "There is no such page", "The address is not one of this app.", (_FROM_EHR,)),
    "too_large": Sorry(
        413, "That was too much at once", "The entry is larger than a form can be. Nothing was changed.", ("Go back.",)
    ),
    "bad_request": Sorry(
        400, "That could not be read", "The request was not complete. Nothing was changed.", ("Go back.",)
    ),
    "store_away": Sorry(
        503,
        "The app cannot save at this moment",
        "Its own memory does not answer. The last step was not kept.",
        ("Wait a moment, then repeat your last step.",),
        level=logging.ERROR,
    ),
    "broken": Sorry(
        500,
        "Something went wrong in the app",
        "The last step could not be done. What was saved before is kept.",
        ("Go back and try again.", "If it stays so, tell the app's administrators the reference below."),
        level=logging.ERROR,
    ),
}
_OF_STATUS = {404: "not_found", 405: "not_found", 413: "too_large"}


def install(app: Flask) -> None:
    """Show these pages instead of traces."""
    app.register_error_handler(Trouble, show)
    app.register_error_handler(FormChanged, lambda _: show(Trouble("draft_changed", "form_changed")))
    app.register_error_handler(SQLAlchemyError, lambda error: show(Trouble("store_away", type(error).__name__)))
    app.register_error_handler(Unreadable, lambda _: show(Trouble("session_ended", "unreadable")))
    app.register_error_handler(HTTPException, _http_page)
    app.register_error_handler(Exception, _broken)


def show(trouble: Trouble) -> tuple[str, int]:
    """The page of one trouble, and a log line that names it by the same reference."""
    sorry = PAGES[trouble.kind]
    g.reason = trouble.reason
    _LOG.log(sorry.level, "page of trouble", extra={"kind": trouble.kind, "reason": trouble.reason} | _reference())
    page = render_template("trouble.html", sorry=sorry, trouble=trouble, reference=g.get("request_id", ""))
    return page, sorry.status


def _http_page(error: HTTPException) -> tuple[str, int]:
    status = error.code or 500
    kind = _OF_STATUS.get(status, "bad_request" if status < 500 else "broken")
    return show(Trouble(kind, f"http_{status}"))


def _broken(error: Exception) -> tuple[str, int]:
    _LOG.exception("an error of the app's own", exc_info=error, extra=_reference())
    return show(Trouble("broken", type(error).__name__))


def _reference() -> dict[str, str]:
    return {"request_id": g.get("request_id", "")}
