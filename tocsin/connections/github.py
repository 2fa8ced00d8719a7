"""GitHub's REST API, as much of it as eval results and dispatched workflows need.

A token stands in one header, goes to the API's own host alone, and never into a log, a message or a redirect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from tocsin.connections.http import Fetched, Http, Unreached, checked
from tocsin.connections.refusal import STATUS
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.text import redacted, scrub

ENDPOINT = "https://api.github.com"
LARGEST_ARTIFACT = 20 * 1024 * 1024
"""Bytes of an artifact's zip that are read; more is no evals' results."""

_VERSION = "2022-11-28"
_LARGEST_ANSWER = 4 * 1024 * 1024
_WITHIN, _DOWNLOAD_WITHIN = 20.0, 60.0
"""Seconds an answer, and a download, may take as a whole."""
_HOPS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_.][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workflow. ``conclusion`` is empty until ``status`` is ``completed``.

    A run that is ``foreign`` ran the code of a fork: whoever can open a pull request decides what it leaves behind.
    """

    id: int
    created: datetime
    status: str
    conclusion: str = ""
    branch: str = ""
    event: str = ""
    url: str = ""
    foreign: bool = False
    title: str = ""
    """What its workflow calls it by ``run-name``."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact of a run; ``size`` is in bytes."""

    id: int
    name: str
    size: int
    expired: bool
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A run that GitHub accepted to start. ``run`` and ``url`` are its own where the server tells them, else none."""

    run: int | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class GitHub:
    """What a token may see and start. Raises ValueError for a token or an endpoint that cannot be used.

    ``endpoint`` is https, or http on loopback. Nothing is tried twice: whoever asks decides whether to ask again.
    """

    http: Http
    token: str = field(repr=False)
    endpoint: str = ENDPOINT

    def __post_init__(self) -> None:
        checked(self.endpoint)
        if not self.token or not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise ValueError("the GitHub token must be printable ASCII without spaces")

    def runs(
        self, repo: str, workflow: str, created_after: datetime | None = None, status: str = ""
    ) -> tuple[Run, ...] | NoAnswer:
        """Return a workflow's newest runs (a hundred at most), newest first; only later ones than ``created_after``.

        ``repo`` is OWNER/NAME, ``workflow`` a file's name such as ``evals.yml``; ``status`` may be ``completed``.
        """
        wanted = {"per_page": "100", **({"status": status} if status else {})}
        if created_after:
            wanted["created"] = f">={created_after.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        path = f"{_at(repo)}/actions/workflows/{quote(workflow, safe='')}/runs?{urlencode(wanted)}"
        found = self._list(path, "workflow_runs", _run)
        if isinstance(found, NoAnswer):
            return found
        later = [each for each in found if created_after is None or each.created > created_after]
        return tuple(sorted(later, key=lambda each: (each.created, each.id), reverse=True))

    def run(self, repo: str, identity: int) -> Run | NoAnswer:
        """Return one run as it is now."""
        found = self._get(f"{_at(repo)}/actions/runs/{identity:d}")
        return found if isinstance(found, NoAnswer) else _safely(_run, found)

    def artifacts(self, repo: str, run: int, name: str = "") -> tuple[Artifact, ...] | NoAnswer:
        """Return a run's artifacts (a hundred at most), or those of exactly this name, newest first."""
        wanted = {"per_page": "100", **({"name": name} if name else {})}
        found = self._list(f"{_at(repo)}/actions/runs/{run:d}/artifacts?{urlencode(wanted)}", "artifacts", _artifact)
        if isinstance(found, NoAnswer):
            return found
        return tuple(
            sorted((each for each in found if name in ("", each.name)), key=lambda each: each.id, reverse=True)
        )

    def download(self, repo: str, artifact: int) -> bytes | NoAnswer:
        """Return an artifact's zip. It lies on another host, to which GitHub redirects and the token never goes."""
        url = f"{self.endpoint.rstrip('/')}{_at(repo)}/actions/artifacts/{artifact:d}/zip"
        headers: dict[str, str] = self._headers()
        for _ in range(_HOPS):
            answer = self._fetch("GET", url, headers, LARGEST_ARTIFACT, _DOWNLOAD_WITHIN)
            if isinstance(answer, Unreached):
                return NoAnswer(Why.UNREACHABLE, f"the download: {answer.reason}")
            if answer.status not in _REDIRECTS:
                return self._downloaded(answer)
            url, headers = urljoin(url, answer.headers.get("location", "")), {}
            if not self._may_follow(url):
                return NoAnswer(Why.BROKEN, "the download is redirected to where no request may go")
        return NoAnswer(Why.BROKEN, "the download is redirected again and again")

    def dispatch(
        self, repo: str, workflow: str, ref: str, inputs: Mapping[str, str] | None = None, *, details: bool = True
    ) -> Dispatched | NoAnswer:
        """Start a workflow that has ``workflow_dispatch``, on a branch or tag, and return what GitHub accepted.

        With ``details`` it is asked for the run's number, which old Enterprise Servers refuse; where it is not told,
        the run is the newest of ``runs`` that were created after this. ``BUSY`` says that no answer came and the run
        may have begun all the same: look before dispatching again.
        """
        path = f"{_at(repo)}/actions/workflows/{quote(workflow, safe='')}/dispatches"
        body = {"ref": ref, "inputs": dict(inputs or {}), **({"return_run_details": True} if details else {})}
        answer = self._fetch("POST", self._url(path), self._headers(), _LARGEST_ANSWER, _WITHIN, body)
        if isinstance(answer, Unreached):
            lost = NoAnswer(Why.BUSY, f"{answer.reason}: whether the run began is not known")
            return lost if answer.maybe else NoAnswer(Why.UNREACHABLE, answer.reason)
        if answer.status == 204:
            return Dispatched()
        if answer.status not in (200, 201):
            return self._refused(answer)
        said = _json(answer.body)
        told = said if isinstance(said, dict) else {}
        number = told.get("workflow_run_id")
        return Dispatched(number if isinstance(number, int) else None, scrub(str(told.get("html_url") or ""), 300))

    # Asking

    def _list(self, path: str, key: str, made: Any) -> list[Any] | NoAnswer:
        found = self._get(path)
        if isinstance(found, NoAnswer):
            return found
        listed: list[Any] | NoAnswer = _safely(lambda body: [made(each) for each in body[key]], found)
        return listed

    def _get(self, path: str) -> Any:
        answer = self._fetch("GET", self._url(path), self._headers(), _LARGEST_ANSWER, _WITHIN)
        if isinstance(answer, Unreached):
            return NoAnswer(Why.UNREACHABLE, answer.reason)
        if answer.status != 200:
            return self._refused(answer)
        found = _json(answer.body) if answer.whole else None
        return NoAnswer(Why.FAILED, "the answer is no JSON") if found is None else found

    def _fetch(
        self, method: str, url: str, headers: Mapping[str, str], largest: int, within: float, body: Any = None
    ) -> Fetched | Unreached:
        return self.http.fetch(method, url, largest=largest, within=within, json=body, headers=headers)

    def _url(self, path: str) -> str:
        return self.endpoint.rstrip("/") + path

    def _headers(self) -> dict[str, str]:
        return {
            "authorization": f"Bearer {self.token}",
            "accept": "application/vnd.github+json",
            "x-github-api-version": _VERSION,
            "user-agent": "tocsin",
        }

    # Answers

    def _may_follow(self, url: str) -> bool:
        """A server out there must not lead a request to this machine."""
        try:
            return urlsplit(checked(url)).scheme == "https" or urlsplit(self.endpoint).scheme == "http"
        except ValueError:
            return False

    def _downloaded(self, answer: Fetched) -> bytes | NoAnswer:
        if answer.status != 200:
            return self._refused(answer)
        if not answer.whole:
            return NoAnswer(Why.BROKEN, f"the artifact is larger than {LARGEST_ARTIFACT // 1024 // 1024} MiB")
        return answer.body

    def _refused(self, answer: Fetched) -> NoAnswer:
        said = _json(answer.body)
        words = said.get("message") if isinstance(said, dict) else ""
        detail = scrub(redacted(f"{answer.status}: {words or 'no reason given'}", [self.token]), 300)
        after = answer.headers.get("retry-after", "")
        if answer.status in (403, 429) and (after or answer.headers.get("x-ratelimit-remaining") == "0"):
            return NoAnswer(Why.THROTTLED, detail, float(after) if after.isdigit() else None)
        why = {410: Why.MISSING, 422: Why.BROKEN}.get(answer.status) or STATUS.get(answer.status, Why.FAILED)
        return NoAnswer(why, detail)


def _at(repo: str) -> str:
    if not _REPOSITORY.fullmatch(repo) or repo.endswith(("/.", "/..")):
        raise ValueError("a repository is OWNER/NAME")
    return f"/repos/{repo}"


def _safely(made: Any, body: Any) -> Any:
    """An answer in another shape than is documented says nothing."""
    try:
        return made(body)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        return NoAnswer(Why.FAILED, f"the answer is not as documented: {type(error).__name__}")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _run(body: Mapping[str, Any]) -> Run:
    return Run(
        id=int(body["id"]),
        created=_instant(body["created_at"]),
        status=str(body["status"] or ""),
        conclusion=str(body.get("conclusion") or ""),
        branch=scrub(str(body.get("head_branch") or ""), 200),
        event=scrub(str(body.get("event") or ""), 60),
        url=scrub(str(body.get("html_url") or ""), 300),
        foreign=_foreign(body),
        title=scrub(str(body.get("display_title") or ""), 300),
    )


def _foreign(body: Mapping[str, Any]) -> bool:
    """A fork that is gone leaves no head repository: that is foreign, too."""
    own, head = body.get("repository") or {}, body.get("head_repository") or {}
    return own.get("id") is None or own.get("id") != head.get("id")


def _artifact(body: Mapping[str, Any]) -> Artifact:
    created = body.get("created_at")
    size, name = int(body["size_in_bytes"]), str(body["name"])
    return Artifact(int(body["id"]), name, size, bool(body["expired"]), _instant(created) if created else None)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return at.astimezone(UTC)
