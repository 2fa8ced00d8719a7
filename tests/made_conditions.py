"""Conditions that were not recorded, made of rows that were: one request each, in the recordings' own shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.conftest import ROOT

RECORDED = ROOT / "tests" / "conditions"

Row = Mapping[str, Any]

WRAPPED = "<class 'agent_framework_foundry._agent.RawFoundryAgentChatClient'> service failed to complete the prompt: "


def recorded(name: str) -> list[Row]:
    """Return the rows of one request, as they were recorded under the condition."""
    return [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def changed(row: Row, **properties: str) -> Row:
    """Return the row with other properties; ``__`` stands for a dot."""
    return {**row, "Properties": {**row["Properties"], **{k.replace("__", "."): v for k, v in properties.items()}}}


def event(like: Row, name: str, **properties: str) -> Row:
    """Return another event of the same request."""
    bare = {**like, "Message": name, "Properties": {"logger_name": "accelerator.telemetry", "event_name": name}}
    return changed(bare, **properties)


def failing(error: str) -> Callable[[], list[Row]]:
    """Return the making of a request whose first worker, and with it the response, fails with this error."""

    def made() -> list[Row]:
        return [changed(row, error=error) if "error" in row["Properties"] else row for row in recorded("error")]

    return made


def answered(code: int, body: str = "") -> Callable[[], list[Row]]:
    """Return the making of a request that the model service answers with an error."""
    return failing(f"{WRAPPED}Error code: {code} - {{'error': {body or '{}'}}}")


def _instead(of: str, *events: tuple[str, Mapping[str, str]]) -> list[Row]:
    """Return a normal request in which other events stand in place of some."""
    rows: list[Row] = []
    for row in recorded("normal"):
        rows += [event(row, name, **told) for name, told in events] if row["Message"] == of else [row]
    return rows


def _unpriced() -> list[Row]:
    return [changed(row, value="0.0") if row["Message"] == "cost.call" else row for row in recorded("normal")]


def _beside(name: str, **told: str) -> list[Row]:
    rows = recorded("normal")
    return [rows[0], event(rows[0], name, **told), *rows[1:]]


def _retrieving(error: str) -> list[Row]:
    rows = recorded("normal")
    asked = event(rows[1], "retrieval.query", ok="true")
    return [*rows[:2], asked, event(rows[1], "retrieval.returned", ok="false", error=error), *rows[2:]]


def _redteam(passed: str) -> list[Row]:
    """Return one prompt that the content filter stops among nine normal requests, and the run's verdict on it."""
    filtered = MADE["content_filter"]()
    told = {"args_redacted__suite": "redteam", "args_redacted__case_id": "r-1", "args_redacted__score": "0.0"}
    verdict = event(filtered[0], "eval.result", args_redacted__passed=passed, **told)
    return [*recorded("normal") * 9, *filtered, verdict]


MADE: Mapping[str, Callable[[], list[Row]]] = {
    "content_filter": failing(
        "<class 'agent_framework_foundry._agent.RawFoundryAgentChatClient'> service encountered a content error: "
        "Error code: 400 - {'error': {'code': 'content_filter', 'innererror': {'code': 'ResponsibleAIPolicyViolation'}}"
    ),
    "prompt_too_long": answered(400, "{'code': 'context_length_exceeded'}"),
    "unauthorized": answered(401, "{'code': 'Unauthorized'}"),
    "role_lost": answered(403, "{'code': 'PermissionDenied'}"),
    "agent_gone": answered(404, "{'code': 'not_found', 'message': 'Agent accel-account-planner not found'}"),
    "throttled": answered(429, "{'code': 'rate_limit_exceeded'}"),
    "foundry_503": answered(503),
    "model_time_out": failing(f"{WRAPPED}Request timed out."),
    "dns_failure": failing(f"{WRAPPED}Connection error."),
    "private_endpoint_bypassed": answered(403, "{'message': 'Public access is disabled. Use a private endpoint.'}"),
    "killswitch_both_on": lambda: recorded("killswitch_workflow_on"),
    "killswitch_stops_a_response": failing("killswitch engaged: tools"),
    "tool_raises": lambda: _instead(
        "tool.executed", ("tool.failed", {"ok": "false", "error": "CRM answered 500", "args_redacted__tool": "crm"})
    ),
    "approver_unreachable": lambda: recorded("hitl_rejections"),
    "approval_skipped": lambda: _instead(
        "tool.hitl_approved", ("tool.hitl_skipped", {"ok": "true", "external_system": "send_email"})
    ),
    "no_approver_newest_flagship": lambda: [row for row in recorded("normal") if not row["Message"].startswith("tool")],
    "search_forbidden": lambda: _retrieving("(Forbidden) Access denied. Status code: 403"),
    "search_unreachable": lambda: _retrieving("Cannot connect to host search:443 [Name or service not known]"),
    "model_without_price": _unpriced,
    "version_lookup_fails": lambda: _beside("agent.version_lookup_failed", ok="false", error="Error code: 404"),
    "redteam_run": lambda: _redteam("True"),
    "redteam_fails": lambda: _redteam("False"),
    "crash": lambda: recorded("client_disconnects"),
}
"""Condition → the making of one request's rows (or of ten requests', where that is what it takes)."""
