"""The small pages that links open: no script, nothing from elsewhere, and an address that goes nowhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from tocsin.core.text import scrub
from tocsin.webhook import Answer

_STYLE = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}"
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    # With "no-referrer" a browser posts the form with `Origin: null`, which App Service's sign-in takes for forged.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


def page(status: int, title: str, *told: str, form: str = "") -> Answer:
    """Return a page. Every text in it is escaped, for rules and targets may be named by others; ``form`` is HTML."""
    said = "".join(f"<p>{escape(scrub(each, 600))}</p>" for each in told)
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="referrer" content="same-origin">'
        f"<title>Tocsin</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(scrub(title, 200))}</h1>{said}{form}</body></html>\n"
    )
    return Answer(status, text, HEADERS, "text/html")


def button(token: str, *names: str, field: str = "") -> str:
    """Return a form with the token and one button a name; ``field`` is further HTML in it."""
    buttons = " ".join(f'<button name="press" value="{escape(name.lower())}">{escape(name)}</button>' for name in names)
    return (
        f'<form method="post"><input type="hidden" name="token" value="{escape(token)}">{field}<p>{buttons}</p></form>'
    )
