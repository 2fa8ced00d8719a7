"""What an Azure SDK's exception says of the service: why there is no answer, in the words that are safe to show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tocsin.core.answer import NoAnswer, Why

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

_SECRETS = re.compile(r"(?i)\b(bearer\s+\S+|eyJ[\w-]+\.[\w.-]+)|\b(sig|sv|se)=[^&\s]+")
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
        return NoAnswer(Why.FORBIDDEN, words(error))
    if isinstance(error, exceptions.HttpResponseError):
        return _refused(error.status_code or 0, error)
    if isinstance(error, LookupError):
        return NoAnswer(Why.BROKEN, words(error))
    if isinstance(error, exceptions.AzureError | TypeError | ValueError | AttributeError):
        return NoAnswer(Why.FAILED, f"{type(error).__name__}: {words(error)}")
    raise error


def words(error: object) -> str:
    """Return the provider's words on one line, without tokens and signatures."""
    return _SECRETS.sub("…", " ".join(str(error).split()))[:500]


def _refused(status: int, error: Any) -> NoAnswer:
    after = error.response.headers.get("Retry-After") if error.response is not None else None
    seconds = float(after) if after and after.isdigit() else None
    said = words(error)
    missing = _ACTION.search(said) if status == 403 else None
    named = f"the identity lacks {missing[1]}: " if missing else ""
    return NoAnswer(STATUS.get(status, Why.FAILED), f"{status}: {named}{said}", seconds)
