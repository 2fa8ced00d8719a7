"""How good answers are, as evals judge them."""

from tocsin.core.causes import RED_TEAM
from tocsin.core.signal import Logs, Signal

_VALUE = "todouble(tostring(Properties['args_redacted.score']))"

SIGNAL = Signal(
    name="eval_score",
    summary="Mean score of the eval cases that have one, those of red-team runs aside.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            where=f"tostring(Properties.event_name) == 'eval.result' and not({RED_TEAM}) and "
            f"{_VALUE} >= 0.0 and {_VALUE} <= 1.0",
            value=f"sum({_VALUE} * ItemCount) / sum(ItemCount)",
        ),
    ),
    needs="`eval.result` with `args_redacted.score`, which exists only where the partner wired it; without it this "
    "signal sees nothing for ever.",
)
