"""The commands about who is told, with their options; the work is in the modules beside this one."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.cli.options import Form, Root
from tocsin.cli.output import Output

routes = typer.Typer(no_args_is_help=True, help="See who would be told.")
silence = typer.Typer(no_args_is_help=True, help="Not hear of some alerts for a while; they are watched all the same.")
notify = typer.Typer(no_args_is_help=True, help="Try a receiver.")

Match = Annotated[list[str] | None, typer.Option("--match", help="LABEL=VALUE; twice for one label is either value.")]
Matchers = Annotated[list[str] | None, typer.Option("--matcher", help="Like 'severity=~\"P[23]\"' or env!=test.")]
For = Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 1d.")]


def register(program: typer.Typer) -> None:
    """Add these commands to the program."""
    program.add_typer(routes, name="routes")
    program.add_typer(silence, name="silence")
    program.add_typer(notify, name="notify")
    for command in (explain, ack, deliveries, actions, approve, decline):
        program.command()(command)


@routes.command("test")
def routes_test(
    labels: Annotated[list[str], typer.Argument(help="Labels of an alert: severity=P1 target=sales-research.")],
    expect: Annotated[str, typer.Option("--expect", help="Receivers with commas; exit 1 when others are told.")] = "",
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Show which routes an alert with these labels ends in, who is told, in which group and when."""
    from tocsin.cli.routing import run

    run(labels, expect=expect, root=root, output=output)


def explain(
    alert: Annotated[str, typer.Argument(help="An episode, RULE/TARGET, or a rule.")],
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Show every reason in order: what was seen, who was told and why not, what policies did."""
    from tocsin.cli.explaining import run

    run(alert, root, output)


def ack(
    alert: Annotated[str, typer.Argument(help="An open alert as `tocsin alerts` names it, or an episode.")],
    for_: For = "4h",
    by: Annotated[str, typer.Option("--by", help="Who takes it on; default: who you are here.")] = "",
    comment: Annotated[str, typer.Option("--comment", help="What the others should know.")] = "",
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Take an alert on: nobody is reminded of it or called because of it until then, and all hear who has it."""
    from tocsin.cli.acknowledging import run

    run(alert, for_=for_, by=by, comment=comment, root=root, output=output)


def deliveries(
    state: Annotated[str, typer.Option("--state", help="waiting, delivered or dead; default: all.")] = "",
    receiver: Annotated[str, typer.Option("--receiver", "-r", help="Only those of one receiver.")] = "",
    news: Annotated[bool, typer.Option("--news", help="Also what happened, before the routes say who hears.")] = False,
    limit: Annotated[int, typer.Option("--limit", help="Look at so many of the newest.", min=1)] = 1_000,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """List messages, newest first: what receivers said, how often they were asked, and when next."""
    from tocsin.cli.outbox import run

    run(state=state, receiver=receiver, news=news, limit=limit, root=root, output=output)


def actions(
    every: Annotated[
        bool,
        typer.Option("--all", help="Those that are over, and what was only observed."),
    ] = False,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """List what policies ask and have under way."""
    from tocsin.cli.consents import show

    show(root, every=every, output=output)


Asked = Annotated[str, typer.Argument(help="An execution that `tocsin actions` shows as asked.")]


def approve(execution: Asked, root: Root = None, output: Form = Output.TEXT) -> None:
    """Approve what a policy asks: the next tick acts on it, if the guard still permits."""
    from tocsin.cli.consents import decide

    decide(execution, "approve", root, output)


def decline(execution: Asked, root: Root = None, output: Form = Output.TEXT) -> None:
    """Decline what a policy asks, for the whole episode."""
    from tocsin.cli.consents import decide

    decide(execution, "decline", root, output)


@silence.command("add")
def silence_add(
    comment: Annotated[str, typer.Option("--comment", help="Why; whoever wonders reads it.")],
    match: Match = None,
    matcher: Matchers = None,
    for_: For = "2h",
    author: Annotated[str, typer.Option("--author", help="Whose it is; default: who you are here.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask, though it hides a P0 or lasts more than 7 days.")
    ] = False,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Silence what the matchers accept, from now on and for a while. One that hides a P0 or is long asks first."""
    from tocsin.cli.silencing import add

    add(match or [], matcher or [], for_=for_, author=author, comment=comment, yes=yes, root=root, output=output)


@silence.command("list")
def silence_list(root: Root = None, output: Form = Output.TEXT) -> None:
    """List silences, those of tocsin.yaml too: which are in force, and which come again."""
    from tocsin.cli.silencing import show

    show(root, output)


@silence.command("expire")
def silence_expire(
    identity: Annotated[str, typer.Argument(help="The id that `silence add` and `silence list` show.")],
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """End a silence now."""
    from tocsin.cli.silencing import expire

    expire(identity, root, output)


@silence.command("preview")
def silence_preview(
    match: Match = None, matcher: Matchers = None, root: Root = None, output: Form = Output.TEXT
) -> None:
    """Show what such a silence would have hidden in the last 24 hours. Nothing is silenced."""
    from tocsin.cli.silencing import preview

    preview(match or [], matcher or [], root, output)


@notify.command("test")
def notify_test(
    receiver: Annotated[str, typer.Argument(help="A receiver's name in tocsin.yaml.")],
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Send one test notice, marked as such, through the real receiver, and show what it said."""
    from tocsin.cli.outbox import test

    test(receiver, root, output)
