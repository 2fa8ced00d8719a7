"""The API does not answer, and nobody else gets an answer from it."""

from tocsin.core.signal import Gauge, Logs, Signal

SIGNAL = Signal(
    name="api_down",
    summary="1 if a probe fails and no response was returned to anybody within the window.",
    unit="count",
    sources=(
        Gauge(meter="probes", reading="failures"),
        # A probe that fails while users are answered is the probe's own trouble, or one address's; where telemetry
        # does not answer nobody can say so, and the probe alone decides.
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'response.returned' and tobool(tostring(Properties.ok)) == true",
            value="sum(ItemCount)",
            denies=True,
        ),
    ),
    needs="the target's `probes` in `tocsin.yaml`: those of its API.",
)
