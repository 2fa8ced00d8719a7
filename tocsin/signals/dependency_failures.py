"""The share of calls to other services that fail."""

from types import MappingProxyType

from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="dependency_failures",
    summary="Share of the calls to other services that failed: no answer, a time-out, a refusal, an error. Answers "
    "that callers ask for (404, 409, 412) are none.",
    unit="ratio",
    sources=(
        Logs(
            table="AppDependencies",
            where="not(DependencyType startswith 'InProc')",
            value="todouble(sumif(ItemCount, Success == false and not(ResultCode in ('404', '409', '412')))) / "
            "sum(ItemCount)",
        ),
    ),
    dimensions=MappingProxyType({"host": "Target", "type": "DependencyType"}),
    needs="`AppDependencies`, which Azure Monitor OpenTelemetry exports for the libraries it instruments: HTTP "
    "clients, databases.",
)
