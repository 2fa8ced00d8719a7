"""Agents whose version could not be looked up."""

from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="version_lookup_failures",
    summary="Look-ups of an agent's version in Foundry that failed (`agent.version_lookup_failed`): which prompt "
    "answers is not known then.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'agent.version_lookup_failed'",
            value="sum(ItemCount)",
        ),
    ),
    counting=True,
    needs="`agent.version_lookup_failed`, which the accelerator emits when the look-up fails.",
)
