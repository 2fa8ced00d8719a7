"""Connections that could not be made: names that do not resolve, endpoints that refuse or are closed to the public."""

from tocsin.core.causes import CONNECTION, CONNECTION_WORDS, names_any
from tocsin.core.signal import Logs, Signal

_RAISED = ("ServiceRequestError", "ClientConnector", "gaierror", "ConnectError", "ConnectTimeout", "ConnectionError")


SIGNAL = Signal(
    name="transport_errors",
    summary="Failures below HTTP: in the app's own events, in its calls, or in its exceptions. Each of the three is "
    "held to the limit by itself, for one failure shows in several.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where=f"isnotempty(tostring(Properties.event_name)) and {CONNECTION}",
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
            where=f"({names_any('ExceptionType', _RAISED)} or {names_any('OuterMessage', CONNECTION_WORDS)})",
            value="sum(ItemCount)",
            detail="max('exceptions')",
        ),
    ),
    counting=True,
    needs="nothing but the app's events, or its calls and exceptions as Azure Monitor OpenTelemetry exports them.",
)
