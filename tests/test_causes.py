"""What the texts of errors are counted by: each by one signal, whoever wrapped them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.made_conditions import WRAPPED
from tests.stage import T0, TARGET
from tocsin.core import causes
from tocsin.core.answer import Query, Rows
from tocsin.telemetry.embedded import EmbeddedTelemetry

KINDS = {
    "refused": causes.REFUSED,
    "filtered": causes.FILTERED,
    "connection": causes.only(causes.CONNECTION, causes.FILTERED),
    "misconfigured": causes.only(causes.MISCONFIGURED, causes.FILTERED, causes.CONNECTION),
    "model": causes.only(causes.MODEL_FAILED, causes.FILTERED, causes.CONNECTION),
}
TEXTS = {
    "killswitch engaged: workflow": "refused",
    "killswitch engaged: tools": "refused",
    f"{WRAPPED}Error code: 500 - {{'error': {{'code':'server_error'}}}}": "model",
    f"{WRAPPED}Error code: 429 - {{'error': {{'message': 'retry after 401 ms'}}}}": "model",
    f"{WRAPPED}Error code: 503 - Unauthorized upstream": "model",
    f"{WRAPPED}Request timed out.": "model",
    "Request timed out.": "model",
    "Error code: 529 - overloaded": "model",
    "Foundry: 503": "model",
    "https://x.services.ai.azure.com answered nothing": "model",
    f"{WRAPPED}Error code: 401 - {{}}": "misconfigured",
    f"{WRAPPED}Error code: 403 - {{'error': {{'code': 'PermissionDenied'}}}}": "misconfigured",
    f"{WRAPPED}Error code: 404 - {{'error': {{'message': 'Agent x not found'}}}}": "misconfigured",
    f"{WRAPPED}(not_found) Agent x does not exist": "misconfigured",
    f"{WRAPPED}Error code: 400 - {{'error': {{'code': 'context_length_exceeded'}}}}": "misconfigured",
    f"{WRAPPED}Error code: 400 - Unsupported parameter: temperature": "misconfigured",
    "ClientAuthenticationError: DefaultAzureCredential failed to retrieve a token": "misconfigured",
    f"{WRAPPED}Operation returned an invalid status 'Not Found'": "misconfigured",
    "ManagedIdentityCredential authentication unavailable, no managed identity endpoint found.": "misconfigured",
    f"{WRAPPED}Connection error.": "connection",
    "Connection error.": "connection",
    "Cannot connect to host x:443 ssl:default [Name or service not known]": "connection",
    f"{WRAPPED}Error code: 403 - Public access is disabled. Please configure private endpoint.": "connection",
    "<class 'x'> service encountered a content error: Error code: 400 - {'code': 'content_filter'}": "filtered",
    f"{WRAPPED}Error code: 400 - The response was filtered due to Azure's content management policy": "filtered",
    "boom: something broke in the parser": "",
    "KeyError: 'Unauthorized'": "",
    "CRM answered 401": "",
    "": "",
}


@pytest.fixture(scope="module")
def counted() -> Iterator[dict[str, list[str]]]:
    telemetry = EmbeddedTelemetry()
    fixed = {"TimeGenerated": T0, "Message": "response.returned"}
    telemetry.load("AppTraces", [{**fixed, "Properties": {"error": text} if text else {}} for text in TEXTS])
    columns = ", ".join(f"{kind} = ({predicate})" for kind, predicate in KINDS.items())
    text = f"AppTraces | project error = {causes.ERROR}, {columns}"
    answer = telemetry.ask(Query(text, T0, T0 + timedelta(seconds=1)), TARGET)
    assert isinstance(answer, Rows), answer
    yield {row["error"]: [kind for kind in KINDS if row[kind]] for row in answer.dicts()}
    telemetry.close()


@pytest.mark.parametrize(("text", "kind"), TEXTS.items())
def test_an_error_is_counted_by_what_failed(counted: dict[str, list[str]], text: str, kind: str) -> None:
    assert counted[text] == ([kind] if kind else [])
