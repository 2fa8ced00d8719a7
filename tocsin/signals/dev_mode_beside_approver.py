"""Dev mode is set beside an approver: nothing is wrong yet, since the approver wins."""

from tocsin.core.signal import Configured, Signal

SIGNAL = Signal(
    name="dev_mode_beside_approver",
    summary="Serving revisions with `HITL_DEV_MODE` on beside an approver. The approver is asked; without it, dev mode "
    "would approve by itself.",
    unit="count",
    sources=(Configured(finding="unused dev mode"),),
    counting=True,
    needs="the target's `container_app` in `tocsin.yaml`, for its configuration.",
)
