"""What an Azure SDK's exception says of the service: why there is no answer, in the words that are safe to show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tocsin.core.answer import NoAnswer, Why

if TYPE_CHECKING:
    from azure.core.pipeline.policies import RetryPolicy

STATUS: Mapping[int, Why] = {
    400: Why.BROKEN,
    401: Why.FORBIDDEN,
    403: Why.FORBIDDEN,
    404: Why.MISSING,
    408: Why.TIMEOUT,
    409: Why.BUSY,
    429: Why.THROTTLED,
    504: Why.TIMEOUT,
}
"""What a status means; any other is FAILED."""

_SECRETS = re.compile(r"(?i)\b(bearer\s+\S+|eyJ[\w.-]+)|\b(sig|sv|se)=[^&\s]+")
"""A beginning of a token is hidden like a whole one: what comes after it may have been cut off."""
_READ = 10_000
"""Letters of a provider's words that are searched for secrets; 500 of them are shown."""
_ACTION = re.compile(r"perform action '([\w./*]+)'")


def no_answer(error: Exception) -> NoAnswer:
    """Return why there is no answer. Raises the error itself when it is none of the SDK's and none of its parsing."""
    from azure.core import exceptions

    # What failed on the way, and who could not sign in, are HttpResponseErrors too: they come first.
    if isinstance(
        error, exceptions.ServiceRequestError | exceptions.ServiceResponseError | exceptions.IncompleteReadError
    ):
        late = "timed out" in str(error).lower()
        return NoAnswer(Why.TIMEOUT if late else Why.UNREACHABLE, words(error))
    if isinstance(error, exceptions.ClientAuthenticationError):
        return NoAnswer(Why.FORBIDDEN, unsigned(error))
    if isinstance(error, exceptions.HttpResponseError):
        return _refused(error.status_code or 0, error)
    if isinstance(error, LookupError):
        return NoAnswer(Why.BROKEN, words(error))
    if isinstance(error, exceptions.AzureError | TypeError | ValueError | AttributeError):
        return NoAnswer(Why.FAILED, f"{type(error).__name__}: {words(error)}")
    raise error


def words(error: object) -> str:
    """Return the provider's words on one line, without tokens and signatures."""
    return _SECRETS.sub("…", " ".join(str(error)[:_READ].split()))[:500]


def unsigned(error: object) -> str:
    """Return why nobody is signed in. Of a laptop's list of all that was tried, what helps: to sign in."""
    said, tried, _ = words(error).partition(" Attempted credentials:")
    return f"{said} On a laptop, `az login` signs in." if tried else said


def _refused(status: int, error: Any) -> NoAnswer:
    after = error.response.headers.get("Retry-After") if error.response is not None else None
    seconds = float(after) if after and after.isdigit() else None
    said = words(error)
    missing = _ACTION.search(said) if status == 403 else None
    named = f"the identity lacks {missing[1]}: " if missing else ""
    return NoAnswer(STATUS.get(status, Why.FAILED), f"{status}: {named}{said}", seconds)


def unhurried(total: int = 10) -> RetryPolicy[Any, Any]:
    """Return the SDK's retries, short ones, without its obedience to ``Retry-After``: a tick has no time to sleep."""
    from azure.core.pipeline import PipelineResponse
    from azure.core.pipeline.policies import RetryPolicy

    class Unhurried(RetryPolicy[Any, Any]):
        def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
            throttled = response.http_response.status_code == 429
            return not throttled and super().is_retry(settings, response)

        def get_retry_after(self, response: PipelineResponse[Any, Any]) -> float | None:  # noqa: ARG002
            return None

    return Unhurried(retry_total=total, retry_backoff_factor=0.2)
