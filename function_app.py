"""Triggers, and nothing else: unwrap what Azure hands over, call the app, wrap what comes back.

Importing this module defines functions and does nothing that can fail: a failed import would be reported by the
Azure host as "No job functions found", and the watcher would be silently gone. What is wrong with files or settings is
said by ``/api/health/details``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.function_name("tick")
@app.timer_trigger(arg_name="timer", schedule="%TICK_SCHEDULE%", use_monitor=True)
def tick(timer: func.TimerRequest) -> None:
    """Evaluate what is due, tell, act. Missed ticks are caught up, so a late timer loses nothing."""
    from tocsin.app import current

    current().tick()


@app.function_name("react")
@app.event_grid_trigger(arg_name="event")
def react(event: func.EventGridEvent) -> None:
    """Evaluate the targets that an event concerns. The event itself decides nothing.

    Which of its two forms it has is the subscription's choice; the host hands over either.
    """
    from tocsin.app import current

    given = {"id": event.id, "subject": event.subject, "data": event.get_json()}
    if isinstance(event, func.EventGridEvent):
        given |= {"topic": event.topic, "eventType": event.event_type, "eventTime": _spelled(event.event_time)}
    else:
        given |= {"source": event.source, "type": event.type, "time": _spelled(event.time)}
        given |= {"specversion": event.specversion}
    current().react(given)


def _spelled(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


@app.function_name("evaluate")
@app.queue_trigger(arg_name="message", queue_name="tocsin-evaluate", connection="AzureWebJobsStorage")
def evaluate(message: func.QueueMessage) -> None:
    """Evaluate one target that a tick handed out, where a fleet outgrows one instance."""
    from tocsin.app import current

    current().work(message.get_body().decode("utf-8", "replace"))


@app.function_name("given_up")
@app.queue_trigger(arg_name="message", queue_name="tocsin-evaluate-poison", connection="AzureWebJobsStorage")
def given_up(message: func.QueueMessage) -> None:
    """Make an alert of work that failed again and again."""
    from tocsin.app import current

    current().given_up(message.get_body().decode("utf-8", "replace"))


@app.function_name("events")
@app.route(route="events", methods=["POST", "OPTIONS"], auth_level=func.AuthLevel.FUNCTION)
def events(req: func.HttpRequest) -> func.HttpResponse:
    """Take what an action group's webhook or an Event Grid subscription posts: alerts in the common schema, events."""
    from tocsin.webhook import answer

    found = answer(req.method, dict(req.headers), req.get_body())
    return func.HttpResponse(found.body, status_code=found.status, headers=dict(found.headers), mimetype=found.kind)


@app.function_name("link")
@app.route(route="link", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
def link(req: func.HttpRequest) -> func.HttpResponse:
    """Show what a link in a message would do; do it when a person has pressed the button. Its token is its key."""
    from tocsin.links import answer

    found = answer(req.method, dict(req.params), req.get_body(), headers=dict(req.headers))
    return func.HttpResponse(found.body, status_code=found.status, headers=dict(found.headers), mimetype=found.kind)


@app.function_name("health")
@app.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    """Return whether Tocsin watches: 200 when it does (even degraded), 503 when it does not."""
    from tocsin.app import pulse

    return _health(pulse())


@app.function_name("health_details")
@app.route(route="health/details", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def health_details(req: func.HttpRequest) -> func.HttpResponse:
    """Return whether Tocsin watches, and which file, setting or part is the reason when it does not."""
    from tocsin.app import health as report

    return _health(report())


def _health(found: Mapping[str, Any]) -> func.HttpResponse:
    status = 503 if found["status"] == "broken" else 200
    return func.HttpResponse(json.dumps(found), status_code=status, mimetype="application/json")
