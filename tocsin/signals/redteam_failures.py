"""Red-team cases that got through."""

from tocsin.core.causes import RED_TEAM
from tocsin.core.signal import Logs, Signal

_PASSED = "tobool(tostring(Properties['args_redacted.passed']))"

SIGNAL = Signal(
    name="redteam_failures",
    summary="Cases of a red-team run that failed: the app did what it should have refused.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where=f"tostring(Properties.event_name) == 'eval.result' and {RED_TEAM} and {_PASSED} == false",
            value="sum(ItemCount)",
        ),
    ),
    counting=True,
    needs="`eval.result` with `args_redacted.suite` and `args_redacted.passed`, which exists only where the partner "
    "wired it.",
)
