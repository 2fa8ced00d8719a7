"""Revisions of the app that should serve and do not run."""

from tocsin.core.signal import Configured, Signal

SIGNAL = Signal(
    name="unhealthy_revisions",
    summary="Active revisions that do not run: crashing, failed or degraded, as the platform says.",
    unit="count",
    sources=(Configured(finding="revisions"),),
    counting=True,
    needs="the target's `container_app` in `tocsin.yaml`.",
)
