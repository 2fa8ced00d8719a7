"""The share of the work that fails because the model does not answer."""

from tocsin.core.signal import Logs, Signal

_ERROR = "tostring(Properties.error)"
# The service by its name, as the accelerator writes it, and by the addresses that connection errors hold.
_NAMED = " or ".join(f"{_ERROR} contains '{name}'" for name in ("foundry", "services.ai.azure.com", "openai.azure.com"))

SIGNAL = Signal(
    name="model_errors",
    summary="Share of the responses and of the workers' runs that failed with an error that names Foundry.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            # A worker may fail while the response still succeeds, so both count; what says nothing of itself does not.
            where="tostring(Properties.event_name) in ('response.returned', 'worker.completed') and "
            "isnotnull(tobool(tostring(Properties.ok)))",
            value=f"todouble(sumif(ItemCount, tobool(tostring(Properties.ok)) == false and ({_NAMED}))) / "
            "sum(ItemCount)",
        ),
    ),
    needs="`response.returned` and `worker.completed`, whose `error` names the service that failed.",
)
