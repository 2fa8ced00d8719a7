"""The share of requests that the app lost."""

from tocsin.core.signal import Gauge, Signal
from tocsin.signals.unanswered_requests import SIGNAL as UNANSWERED

SIGNAL = Signal(
    name="lost_requests",
    summary="`unanswered_requests`, where containers of the app restarted within the window. Without a restart it was "
    "the client that went away, or something between that cut the connection.",
    unit="ratio",
    sources=(
        *UNANSWERED.sources,
        Gauge(meter="metrics", reading="restarts", fold="rise", instant=False, confirms=True),
    ),
    needs="`request.received` and `response.returned`, which every accelerator emits; and the target's `container_app` "
    "in `tocsin.yaml`, with Monitoring Reader on it for the reader's identity.",
)
