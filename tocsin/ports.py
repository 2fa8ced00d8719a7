"""What the engine needs of the world, as Protocols. Each has an Azure adapter and a stand-in for one machine.

Every method may raise only what its docstring names; anything else is a defect and is isolated by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from tocsin.core.action import Order, Preview
from tocsin.core.alert import Alert, Instance
from tocsin.core.answer import NoAnswer, Query, Rows, Why
from tocsin.core.audit import Record
from tocsin.core.config import Target
from tocsin.core.container import App, Look
from tocsin.core.copying import Place
from tocsin.core.evals import Results
from tocsin.core.gauge import Reading
from tocsin.core.message import Delivery, Notice, Outcome
from tocsin.core.remedy import Applied, Execution
from tocsin.core.unreadable import Unreadable

T = TypeVar("T")


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""


class Log(Protocol):
    """Takes events with fields; structlog's bound logger is one."""

    def info(self, event: str, /, **fields: Any) -> Any:
        """Note something expected."""

    def warning(self, event: str, /, **fields: Any) -> Any:
        """Note something that somebody should look at."""

    def error(self, event: str, /, **fields: Any) -> Any:
        """Note a failure."""


Counted = Literal[
    "ticks", "slots", "slots.late", "slots.missed", "verdicts", "queries", "deliveries", "actions"
]  # fmt: skip
"""What the watcher counts of itself; docs/operations.md says what each is and which labels it has."""


class Tally(Protocol):
    """Keeps count of what the watcher does, for whoever watches the watcher. Never raises."""

    def count(self, what: Counted, number: int = 1, /, **labels: str) -> None:
        """Add to a count. Never waits."""

    def ticked(self, seconds: float, /, **labels: str) -> None:
        """Note how long one tick took. Never waits."""

    def flush(self) -> None:
        """Hand over what was counted. Waits two seconds at most, whatever the other side does."""


class Telemetry(Protocol):
    """Answers questions about what a target emitted."""

    def ask(self, query: Query, target: Target) -> Rows | NoAnswer:
        """Return the rows, or why there are none. Never raises for what the service did."""


class Configuration(Protocol):
    """Reads what a target is set to, from the platform itself."""

    def read(self, target: Target) -> App | NoAnswer:
        """Return the Container App with its revisions as they are now. Never raises for what the service did."""


class Meter(Protocol):
    """Reads numbers of a target from somewhere else than its workspace."""

    def read(self, target: Target, reading: str, start: datetime, end: datetime) -> Sequence[Reading] | NoAnswer:
        """Return readings by name, or why there are none. Never raises for what the service did.

        A meter that knows the past returns ``reading`` over ``[start, end)``; one that knows the present alone, all it
        has. A target without anything to read has no readings.
        """


class Evaluations(Protocol):
    """Knows how a target did in its evals."""

    def results(self, target: Target, since: datetime, now: datetime) -> Results | NoAnswer:
        """Return the newest results of ``target`` from after ``since``, or why there are none.

        Older ones may be returned too, with their time. Never raises for what a file, run or service holds.
        """


class _NoEvaluations:
    def results(self, target: Target, since: datetime, now: datetime) -> NoAnswer:  # noqa: ARG002
        """Return that there are none."""
        return NoAnswer(Why.MISSING, "there is no source of eval results")


NO_EVALUATIONS: Evaluations = _NoEvaluations()
"""Stands where nothing knows how any target did: no gate is ever green by it."""


class Notifier(Protocol):
    """Delivers to one receiver.

    One that is ``together`` (a class attribute, False unless said) takes one message about several alerts, for people;
    the others take one an alert, under its episode.
    """

    def deliver(self, notice: Notice) -> Outcome:
        """Hand one notice over once; return what the receiver said. Never raises for what the service did."""


class Actuator(Protocol):
    """Changes one thing in the world, idempotently.

    What was done by one that is ``readable`` (a class attribute) can be read back from the world; of the others only
    what the other side answered is known. One that ``finishes`` is applied once more while its state is not seen: where
    traffic is shared out, it follows a change only once the new revision runs.
    """

    readable: ClassVar[bool]
    finishes: ClassVar[bool]

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return what applying the order would change now, everything it would touch. Writes nothing."""

    def apply(self, order: Order) -> Applied:
        """Bring the target to the wanted state, or say why not. Applying twice equals applying once."""

    def holds(self, order: Order) -> bool | None:
        """Return whether the target already is in the wanted state; None when that cannot be read now, or ever."""


@runtime_checkable
class Provable(Protocol):
    """An actuator that can tell whether what it does has come to serve, which may be later than that it was taken."""

    def look(self, order: Order) -> Look:
        """Return whether everything that serves is in the wanted state and runs, and in words what is not."""


Links = Callable[[Notice, datetime], tuple[tuple[str, str], ...]]
"""Returns what a person can do about an alert by a link, as names and addresses, made now. Never raises."""


def no_links(_notice: Notice, _now: datetime) -> tuple[tuple[str, str], ...]:
    """Return none: where nothing says by what secret links would be signed."""
    return ()


KEPT = timedelta(days=30)
"""How long a settled message is kept."""


class Conflict(Exception):
    """Another writer was first: read again and decide again."""


class StoreUnavailable(Exception):
    """The store did not answer. Without state nothing is decided and nothing is done."""


class TooLarge(Exception):
    """A value does not fit where the store would keep it. Nothing of the call was saved; trying again does not help."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The stored alerts of one rule on one target, with the tag that a commit must present.

    ``lost`` are the rows that could not be read, by the JSON text of their instance. Nothing is known of them.
    """

    alerts: Mapping[Instance, Alert]
    etag: str | None
    lost: Sequence[Unreadable] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest slot evaluated per rule on one target, and how long its telemetry was seen to take to arrive."""

    slots: Mapping[str, datetime] = field(default_factory=dict)
    etag: str | None = None
    lag: timedelta | None = None


class Unsent(Exception):
    """A message could not be put into the work queue."""


class WorkQueue(Protocol):
    """Where evaluations wait for somebody to do them."""

    def send(self, message: str) -> None:
        """Put a message in. Raises ``Unsent``."""

    def waiting(self) -> int | NoAnswer:
        """Return about how many messages wait, or why that is not known."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A value as it is kept, with the tag that its replacement must present."""

    value: T
    etag: str


class MirrorUnavailable(Exception):
    """The copy of the audit did not answer, or not clearly: whether something was written is read from it later."""


class Diverged(Exception):
    """The audit and its copy are not the same chain any more."""


class Mirror(Protocol):
    """A copy of the audit chain somewhere else, to which lines are only ever appended. ``name`` holds no secret.

    Every method raises ``MirrorUnavailable`` when the copy does not answer.
    """

    @property
    def name(self) -> str:
        """Return where it is: another place is another copy."""

    def tail(self) -> Place:
        """Return where the copy ends. Raises ``Diverged`` when its last line is no record."""

    def append(self, entries: Sequence[Mapping[str, Any]], at: Place) -> Place:
        """Append the first of these records, as many as go together, and return where the copy ends then.

        Raises ``Conflict``, and writes nothing, when the copy does not end ``at`` that place.
        """

    def lines(self) -> Iterator[bytes]:
        """Yield every line of the copy, oldest first, without its end."""


class Store(Protocol):
    """Keeps state. Every method raises ``StoreUnavailable`` when the store does not answer.

    Every method that saves something raises ``TooLarge`` for a value that does not fit, and then saves nothing.

    What reads many rows passes over those that cannot be decoded; ``unreadable`` names them until their kind is read
    again. What reads one raises ``Unreadable`` for it. None is deleted or replaced but a mark, by whoever presents its
    tag, a lock and the heartbeat: to keep or record something anew under its key is a ``Conflict``.
    """

    def unreadable(self) -> list[Unreadable]:
        """Return the rows that were passed over when their kind was read last."""

    def load(self, rule: str, target: str) -> Loaded:
        """Return the stored alerts of one rule on one target."""

    def load_all(self, target: str) -> Mapping[str, Loaded]:
        """Return what ``load`` would for every rule that has anything stored on ``target``."""

    def commit(
        self, rule: str, target: str, alerts: Iterable[Alert], deliveries: Iterable[Delivery], etag: str | None
    ) -> None:
        """Save alerts (idle ones are forgotten) and new deliveries in one transaction. Raises ``Conflict``."""

    def open_alerts(self) -> list[Alert]:
        """Return every alert that is not idle."""

    def mark(self, target: str) -> Mark:
        """Return the newest slots evaluated on ``target``. ``Unreadable`` has the tag for its replacement."""

    def save_mark(
        self, target: str, slots: Mapping[str, datetime], etag: str | None, lag: timedelta | None = None
    ) -> None:
        """Replace the mark of ``target``. Raises ``Conflict``."""

    def waiting(self, now: datetime) -> list[Delivery]:
        """Return unsettled deliveries whose time has come, oldest first; none that another writer holds."""

    def claim(self, delivery: Delivery, until: datetime) -> Delivery:
        """Hold a delivery against other writers until ``until``. Raises ``Conflict``."""

    def settle(self, delivery: Delivery) -> None:
        """Replace a delivery that this writer claimed, with its receipt or its next time."""

    def delivery(self, identity: str) -> Delivery | None:
        """Return one delivery, wherever it was committed; None when there is none, or none any more."""

    def deliveries(self, limit: int = 100) -> list[Delivery]:
        """Return the newest deliveries, newest first."""

    def execution(self, identity: str) -> Execution | None:
        """Return one execution."""

    def executions(self) -> list[Execution]:
        """Return every execution, oldest first."""

    def record(
        self, execution: Execution | None, entries: Sequence[Record], deliveries: Iterable[Delivery] = ()
    ) -> None:
        """Save an execution, append to the audit chain and enqueue deliveries in one transaction.

        Raises ``Conflict`` when the stored execution's version is not ``execution.version - 1``.
        """

    def enqueue(self, deliveries: Iterable[Delivery]) -> None:
        """Add deliveries that belong to no alert partition; one that is there already is left alone."""

    def kept(self, kind: type[T]) -> Mapping[str, Kept[T]]:
        """Return every value of a kind (groups, silences, …), by its key."""

    def keep(
        self,
        kind: type[T],
        key: str,
        value: T | None,
        etag: str | None,
        deliveries: Iterable[Delivery] = (),
    ) -> None:
        """Replace a value, or forget it (None), and enqueue deliveries in one transaction. Raises ``Conflict``."""

    def audit(self, since: int = 0, most: int | None = None) -> list[dict[str, Any]]:
        """Return the audit records of the ``most`` places after ``since``, oldest first, each as it was hashed."""

    def audit_lines(self, since: int = 0, most: int | None = None) -> list[str]:
        """Return the same as the text that is stored, whatever was done to it."""

    def audit_end(self) -> int:
        """Return the place of the newest audit record, 0 when there is none."""

    def lock(self, name: str, owner: str, now: datetime, ttl: timedelta) -> bool:
        """Return whether ``owner`` now holds the lock ``name``; it frees itself after ``ttl``.

        That holds for a lock that was taken by a clock that was ahead, too: its end is too far away to be believed.
        One that cannot be read is held by somebody unknown for one ``ttl``, from when that is seen.
        """

    def unlock(self, name: str, owner: str) -> None:
        """Free the lock if ``owner`` holds it."""

    def sweep(self, now: datetime) -> int:
        """Forget messages that were settled more than thirty days ago; return how many."""

    def beat(self, now: datetime, failed: Sequence[str] = ()) -> None:
        """Write the heartbeat with what the tick failed at, in a few short lines: the last thing a tick does."""

    def last_beat(self) -> datetime | None:
        """Return when the last tick ended; None before the first, and when that cannot be read."""

    def last_failed(self) -> list[str]:
        """Return what the last tick that ended failed at."""
