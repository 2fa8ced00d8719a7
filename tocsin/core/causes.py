"""What the text of an error says went wrong, as KQL predicates over one event of the accelerator.

The texts are those of the accelerator's own modules, of its agent framework and of the OpenAI and Azure clients below
it. Every exception that the framework wraps names its module, ``agent_framework_foundry``, whatever the cause: what the
model service answered stands behind it as ``Error code: 429``. The predicates exclude one another in this order:
refused by a switch, stopped by the content filter, connection, misconfigured, the model's own failure.
"""

from __future__ import annotations

ERROR = "tostring(Properties.error)"
"""The text of an event's error; empty where there is none."""


def names_any(column: str, words: tuple[str, ...]) -> str:
    """Return the predicate that holds where the column contains one of the words, in any case; a dot is any letter."""
    return f"{column} matches regex '(?i)({'|'.join(words)})'"


REFUSED = f"{ERROR} startswith 'killswitch engaged'"
"""An engaged killswitch stopped it: that is what was asked for, and no failure."""

FILTERED = names_any(ERROR, ("content.filter", "content management policy", "ResponsibleAIPolicy", "content error"))
"""The content filter of the model service stopped it: nothing is broken."""

CONNECTION_WORDS = (
    "Connection error",
    "Name or service not known",
    "nodename nor servname",
    "Temporary failure in name resolution",
    "No address associated with hostname",
    "Name does not resolve",
    "getaddrinfo failed",
    "Failed to resolve",
    "Cannot connect to host",
    "Connect call failed",
    "Failed to establish a new connection",
    "All connection attempts failed",
    "Connection refused",
    "Connection reset",
    "Connection aborted",
    "Connection timed out",
    "Server disconnected",
    "Network is unreachable",
    "No route to host",
    # What a service answers when its name resolves to the public address, past the private endpoint.
    "Public access is disabled",
    "not from an approved private endpoint",
    "Virtual Network/Firewall rules",
)
"""What errors say of connections that could not be made: of all of them the OpenAI client says ``Connection error.``"""

CONNECTION = names_any(ERROR, CONNECTION_WORDS)
"""No connection could be made: neither the model's failure nor a refusal of it."""

_NAMED = names_any(ERROR, ("foundry", "services.ai.azure.com", "openai.azure.com", "Error code: ", "Request timed out"))
_CREDENTIAL = names_any(
    ERROR, ("ClientAuthenticationError", "Credential.failed", "Credential.?(authentication|unavailable)", "AADSTS")
)
_ANSWER = "(?i)(error code|status code|status|http|foundry):? *[(]?({})([^0-9]|$)"
_REFUSED_CALL = f"{ERROR} matches regex '{_ANSWER.format('400|401|403|404|405|413|415|422')}'"
_FAILED_CALL = f"{ERROR} matches regex '{_ANSWER.format('408|409|424|429|5[0-9][0-9]')}'"
_SAID = names_any(
    ERROR,
    (
        "Unauthorized", "Forbidden", "PermissionDenied", "AuthorizationFailed", "AuthenticationError", "NotFound",
        "not.found", "context_length_exceeded", "maximum context length", "context window",
    ),
)  # fmt: skip
_REFUSED_BY_MODEL = f"({_REFUSED_CALL} or ({_SAID} and not({_FAILED_CALL})))"

MISCONFIGURED = f"({_CREDENTIAL} or ({_NAMED} and {_REFUSED_BY_MODEL}))"
"""The model service refused the call as the app makes it: 401, 403, 404 of an agent, 400 of a prompt too long."""

MODEL_FAILED = f"({_NAMED} and not({_REFUSED_BY_MODEL}))"
"""The model service failed: 429, 5xx, a time-out, or an error that names it and says nothing else."""


RED_TEAM = "replace_regex(tolower(tostring(Properties['args_redacted.suite'])), '[-_ ]', '') == 'redteam'"
"""A row of ``eval.result`` that is of a red-team run: its score says nothing of the answers' quality."""


def only(cause: str, *others: str) -> str:
    """Return the predicate of a cause where none of the others, which come before it, holds."""
    return " and ".join([cause, *(f"not({each})" for each in others)])
