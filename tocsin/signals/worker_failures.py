"""The share of an agent's runs that fail."""

from types import MappingProxyType

from tocsin.core.causes import FILTERED, REFUSED
from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="worker_failures",
    summary="Share of the workers' runs that failed, those aside that an engaged killswitch or the content filter "
    "stopped.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'worker.completed' and "
            f"isnotnull(tobool(tostring(Properties.ok))) and not({REFUSED}) and not({FILTERED})",
            value="todouble(sumif(ItemCount, tobool(tostring(Properties.ok)) == false)) / sum(ItemCount)",
        ),
    ),
    dimensions=MappingProxyType({"agent": "tostring(Properties.external_system)"}),
    needs="`worker.completed`, which every accelerator emits with the agent's name.",
)
