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
            # The words are ours: the line itself holds the tool's arguments. Of both, "event" is the greater text.
            detail="max(iff(tostring(Properties.event_name) == 'tool.hitl_misconfigured', "
            "'event tool.hitl_misconfigured', 'HITL_DEV_MODE approves by itself'))",
        ),
        # The current flagship never emits the event: without a look at the app the alert would stay silent for ever.
        Configured(finding="approver"),
    ),
    counting=True,
    dimensions=MappingProxyType({"tool": "tostring(Properties.external_system)"}),
    needs="the target's `container_app` in `tocsin.yaml`, for its configuration. The current flagship checks for an "
    "approver before it calls a tool and never emits `tool.hitl_misconfigured`; older forks do. The dev-mode line is a "
    "log record of `accelerator.hitl`.",
)
