"""Side-effect tools run, or would run, without a human approver."""

from types import MappingProxyType

from tocsin.core.signal import Configured, Logs, Signal

SIGNAL = Signal(
    name="hitl_misconfigured",
    summary="Signs that no human approves side effects: the event, the dev-mode log line, or the app's configuration.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'tool.hitl_misconfigured' or "
            "(tostring(Properties.logger_name) == 'accelerator.hitl' and Message startswith 'HITL_DEV_MODE')",
            value="sum(ItemCount)",
            # The words are ours: the dev-mode line itself holds the tool's arguments.
            detail="max(iff(tostring(Properties.event_name) == 'tool.hitl_misconfigured', "
            "'event tool.hitl_misconfigured', 'HITL_DEV_MODE approves by itself'))",
        ),
        # The current flagship never emits the event: without a look at the app the alert would stay silent for ever.
        Configured(finding="approver"),
    ),
    counting=True,
    dimensions=MappingProxyType({"tool": "tostring(Properties.external_system)"}),
    needs="nothing: the app's own configuration is enough; events and log lines tell of older forks and dev mode.",
)
