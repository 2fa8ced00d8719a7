"""App Service's own sign-in on loopback, before the pages that links open: whose headers count, and whose do not.

It strips the headers in which it says who is signed in from whatever comes in, adds its own for a session, and refuses
a browser's form that a session's cookie came with but not the page's own origin.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from html import escape
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from tocsin.tokens import PATH
from tocsin.webhook import Answer

LOGIN = "/.auth/login/aad"
_COOKIE = "AppServiceAuthSession"
_OURS = "x-ms-client-principal"

Answers = Callable[[str, Mapping[str, str], bytes, Mapping[str, str]], Answer]
"""Answers a request: its method, query, body and headers."""


class SignInStandIn:
    """Lets people of ``known`` (name → password) sign in, and hands requests to ``answers``."""

    def __init__(self, answers: Answers, known: Mapping[str, str]) -> None:
        self.answers = answers
        self.known = known
        self.sessions: dict[str, str] = {}
        self.refused = 0

    def routes(self) -> list[Route]:
        """Return the routes to mount at the root."""
        return [Route(PATH, self._link, methods=["GET", "POST"]), Route(LOGIN, self._login, methods=["GET", "POST"])]

    async def _link(self, request: Request) -> Response:
        name = self.sessions.get(request.cookies.get(_COOKIE, ""))
        if request.method == "POST" and name and not _own(request):
            self.refused += 1
            return Response("Cross-site request forgery detected.", 403)
        headers = {key: value for key, value in request.headers.items() if not key.lower().startswith(_OURS)}
        if name:
            headers |= {f"{_OURS}-name": name, f"{_OURS}-id": f"id of {name}", f"{_OURS}-idp": "aad"}
        query, body = dict(request.query_params), await request.body()
        found = await run_in_threadpool(self.answers, request.method, query, body, headers)
        return Response(found.body, found.status, dict(found.headers), found.kind)

    async def _login(self, request: Request) -> Response:
        back = request.query_params.get("post_login_redirect_uri", "")
        if request.method == "GET":
            return HTMLResponse(_FORM.format(action=escape(f"{LOGIN}?{request.url.query}")))
        given = parse_qs((await request.body()).decode())
        name, password = (given.get(key, [""])[0] for key in ("name", "password"))
        if not password or self.known.get(name) != password or not back.startswith("/api/"):
            return HTMLResponse("<p>Not known here.</p>", 401)
        session = secrets.token_hex(16)
        self.sessions[session] = name
        answer = RedirectResponse(back, 303)
        answer.set_cookie(_COOKIE, session, httponly=True, samesite="lax")
        return answer


_FORM = (
    '<!doctype html><title>Sign in</title><form method="post" action="{action}">'
    '<input name="name"><input name="password" type="password"><button name="press" value="in">Sign in</button></form>'
)


def _own(request: Request) -> bool:
    """Return whether the page that sent a form is of this host, by what the browser says."""
    said = request.headers.get("origin") or request.headers.get("referer", "")
    return f"{said}/".startswith(f"{request.url.scheme}://{request.url.netloc}/")
