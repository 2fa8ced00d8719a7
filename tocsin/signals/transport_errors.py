"""Connections that could not be made: names that do not resolve, endpoints that refuse or are closed to the public."""

from tocsin.core.signal import Logs, Signal

_SAID = (
    "Name or service not known",
    "Temporary failure in name resolution",
    "No address associated with hostname",
    "Name does not resolve",
    "getaddrinfo failed",
    "Failed to resolve",
    "Cannot connect to host",
    "Failed to establish a new connection",
    "All connection attempts failed",
    "Connection refused",
    "Network is unreachable",
    "No route to host",
    # What a service answers when its name resolves to the public address, past the private endpoint.
    "Public access is disabled",
)
_RAISED = ("ServiceRequestError", "ClientConnector", "gaierror", "ConnectError", "ConnectTimeout", "ConnectionError")


def _any(column: str, words: tuple[str, ...]) -> str:
    return "(" + " or ".join(f"{column} contains '{each}'" for each in words) + ")"


SIGNAL = Signal(
    name="transport_errors",
    summary="Failures below HTTP: in the app's own events, in its calls, or in its exceptions. Each of the three is "
    "held to the limit by itself, for one failure shows in several.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where="isnotempty(tostring(Properties.event_name)) and " + _any("tostring(Properties.error)", _SAID),
            value="sum(ItemCount)",
            detail="max('errors of the app')",
        ),
        Logs(
            table="AppDependencies",
            # A call that came to no status never reached anybody. What happens inside the process has none, either.
            where="DependencyType startswith 'HTTP' and Success == false and ResultCode in ('', '0')",
            value="sum(ItemCount)",
            detail="max('calls without an answer')",
        ),
        Logs(
            table="AppExceptions",
            where=f"({_any('ExceptionType', _RAISED)} or {_any('OuterMessage', _SAID)})",
            value="sum(ItemCount)",
            detail="max('exceptions')",
        ),
    ),
    counting=True,
    needs="nothing but the app's events, or its calls and exceptions as Azure Monitor OpenTelemetry exports them.",
)
