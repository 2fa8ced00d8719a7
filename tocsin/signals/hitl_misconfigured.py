"""Side-effect tools run without a human approver, or are refused for want of one."""

from types import MappingProxyType

from tocsin.core.container import DEV_MODE, NO_APPROVER
from tocsin.core.signal import Configured, Logs, Signal

_REFUSED = "tostring(Properties.event_name) == 'tool.hitl_misconfigured'"

SIGNAL = Signal(
    name="hitl_misconfigured",
    summary="Signs that no human approves side effects. By `sign`: `refused` (the event: a call was attempted and did "
    "not go through), `self-approved` (the dev-mode log line: a call went through with nobody asked); and in the app's "
    "configuration `dev-mode` without an approver (calls go through) and `no-approver` at all (calls are refused).",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where=f"{_REFUSED} or "
            "(tostring(Properties.logger_name) == 'accelerator.hitl' and Message startswith 'HITL_DEV_MODE')",
            value="sum(ItemCount)",
            # The words are ours: the line itself holds the tool's arguments. Of both, the worse is the greater text.
            detail=f"max(iff({_REFUSED}, 'refused: the event tool.hitl_misconfigured', "
            "'self-approved: the log line HITL_DEV_MODE, and calls went through'))",
            says=MappingProxyType({"sign": ("refused", "self-approved")}),
        ),
        # The current flagship never emits the event: without a look at the app the alert would stay silent for ever.
        Configured(finding="approver", says=MappingProxyType({"sign": (DEV_MODE, NO_APPROVER)})),
    ),
    counting=True,
    dimensions=MappingProxyType(
        {"sign": f"iff({_REFUSED}, 'refused', 'self-approved')", "tool": "tostring(Properties.external_system)"}
    ),
    needs="the target's `container_app` in `tocsin.yaml`, for its configuration. The current flagship checks for an "
    "approver before it calls a tool and never emits `tool.hitl_misconfigured`; older forks do. The dev-mode line is a "
    "log record of `accelerator.hitl`.",
)
