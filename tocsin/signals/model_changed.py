"""Another model answers than before."""

from tocsin.core.signal import Configured, Signal

SIGNAL = Signal(
    name="model_changed",
    summary="Serving revisions of the last hour whose `AZURE_AI_FOUNDRY_MODEL` or `…_MODEL_MAP` is not that of the "
    "revision before.",
    unit="count",
    sources=(Configured(finding="model"),),
    counting=True,
    needs="the target's `container_app` in `tocsin.yaml`. A model that changes behind the same deployment's name is "
    "not seen.",
)
