"""Every command, with its options; the work is in the modules beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin import __version__
from tocsin.cli import audit, backtest, people, plan, porting, writing
from tocsin.cli.drill import drill
from tocsin.cli.handover import handover
from tocsin.cli.options import Form, Root
from tocsin.cli.output import Exit, Output, say, stop
from tocsin.cli.report import report as report_group
from tocsin.cli.reports import Report

program = typer.Typer(
    name="tocsin",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Watch AI-agent systems, tell the right people, act by declared policy.",
    epilog="Exit codes: 0 all is well, 1 bad news, 2 wrong call, 3 something needed did not answer.",
)
killswitch = typer.Typer(no_args_is_help=True, help="See, engage or release a target's killswitch.")
program.add_typer(killswitch, name="killswitch")
program.add_typer(drill, name="drill")
program.add_typer(handover, name="handover")
program.add_typer(report_group, name="report")
people.register(program)
audit.register(program)
writing.register(program)
backtest.register(program)
plan.register(program)
porting.register(program)

TargetName = Annotated[str, typer.Option("--target", "-t", help="A target's name in tocsin.yaml.")]
Scope = Annotated[str, typer.Option("--scope", help="tools, workflow or all.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every serving revision has it.")]


@program.callback(invoke_without_command=True)
def _version(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False
) -> None:
    if version:
        say(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@program.command()
def check(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder to check; default: the nearest with tocsin.yaml.")
    ] = None,
    report: Annotated[
        Report, typer.Option("--output", "-o", help="text for people; the others for programs and CI.")
    ] = Report.TEXT,
    changed: Annotated[
        str, typer.Option("--changed", metavar="BASE", help="Only what the change since this commit touches.")
    ] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are bad news, too.")] = False,
    kql_parser: Annotated[
        bool | None,
        typer.Option("--kql-parser/--no-kql-parser", help="Microsoft's parser for queries; default: where it is."),
    ] = None,
) -> None:
    """Read every rule, policy and tocsin.yaml, and report every problem and every warning with its place."""
    from tocsin.cli.checking import Checking, run

    run(folder, Checking(report, changed, strict, kql_parser))


@program.command()
def test(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files of scenarios; default: tests/rules/*.yaml.")] = None,
    run: Annotated[str, typer.Option("--run", help="A regular expression: cases by 'RULE: NAME'.")] = "",
    coverage_min: Annotated[
        float,
        typer.Option("--coverage-min", help="Exit 1 when a rule's cases make fewer of its transitions (percent)."),
    ] = 0.0,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Processes; default: one a processor, four at most.")] = 0,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write the report as JUnit XML.")] = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Show every case's course, not only of failures.")
    ] = False,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Play the rules' scenarios through the engine, and show what did not come as expected."""
    from tocsin.cli.testing import run as play

    play(
        paths or [],
        choice=run,
        coverage_min=coverage_min,
        jobs=jobs,
        report_to=junit,
        timeline=timeline,
        root=root,
        output=output,
    )


@program.command()
def doctor(
    target: Annotated[str, typer.Option("--target", "-t", help="Only this target; default: all of them.")] = "",
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Try everything the watcher depends on, and say what to do about each thing. Production is only read."""
    from tocsin.cli.doctoring import run

    run(root, target, output)


@program.command()
def tick(
    root: Root = None,
    output: Form = Output.TEXT,
    once: Annotated[bool, typer.Option("--once", help="One tick and out.")] = True,  # noqa: ARG001 (there is no other way)
) -> None:
    """Run one tick now: evaluate what is due, tell, act."""
    from tocsin.cli.ticking import run_once

    run_once(root, output)


@program.command()
def run(
    root: Root = None,
    local: Annotated[bool, typer.Option("--local", help="Watch the simulated world on this machine.")] = False,
    every: Annotated[float, typer.Option("--every", help="Seconds between ticks.", min=0.1)] = 60.0,
    speed: Annotated[
        float, typer.Option("--speed", help="With --local: story seconds a second.", min=1, max=60)
    ] = 10.0,
    ticks: Annotated[int, typer.Option("--ticks", help="Stop after so many ticks; 0 is never.", min=0)] = 0,
    trace: Annotated[Path | None, typer.Option("--trace", help="With --local: recorded load to play.")] = None,
    env: Annotated[
        Path | None, typer.Option("--env", help="With --local: write the settings that reach its world here.")
    ] = None,
) -> None:
    """Tick in a loop, as the timer does in Azure, until interrupted; with --local for practice, on this machine."""
    from tocsin.cli.ticking import Practice, run_loop

    if (trace or env) and not local:
        stop(Exit.USAGE, f"{'--trace' if trace else '--env'} is of the local world: it needs --local")
    run_loop(root, local=Practice(speed, trace, env) if local else None, every=every, ticks=ticks)


@program.command()
def demo(
    story: Annotated[
        str, typer.Option("--story", help="mission, configuration, outage, recovers or last_resort.")
    ] = "mission",
    speed: Annotated[float, typer.Option("--speed", help="Story seconds a second, at most 60; 0 is flat out.")] = 60.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulated load.")] = 7,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Recorded load: TIMESTAMP,ContextTokens,GeneratedTokens.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Also draw the timeline as an SVG file.")] = None,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Play an incident through Tocsin on this machine, with a live timeline."""
    from tocsin.cli.playing import run

    run(story, speed=speed, seed=seed, trace=trace, picture=picture, root=root, output=output)


@program.command()
def alerts(root: Root = None, output: Form = Output.TEXT) -> None:
    """List the alerts that are not inactive, with what was told and done about each."""
    from tocsin.cli.listing import run

    run(root, output)


@program.command()
def render(
    rule: Annotated[str, typer.Argument(help="A rule's name.")],
    receiver: Annotated[str, typer.Option("--receiver", "-r", help="A type of receiver, or its name in tocsin.yaml.")],
    kind: Annotated[str, typer.Option("--kind", help="fired, acted, blind, resolved or failed.")] = "fired",
    target: Annotated[str, typer.Option("--target", "-t", help="A target's name; default: the rule's first.")] = "",
    picture: Annotated[Path | None, typer.Option("--picture", help="Also draw the Teams card as a PNG file.")] = None,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Show what a receiver would be sent for a rule, as a sample. Nothing is sent."""
    from tocsin.cli.rendering import run

    run(rule, receiver=receiver, kind=kind, target=target, picture=picture, root=root, output=output)


@killswitch.command("status")
def killswitch_status(target: TargetName, root: Root = None, output: Form = Output.TEXT) -> None:
    """Show the switch on every serving revision, as the platform has it now."""
    from tocsin.cli.switching import status

    status(root, target, output)


@killswitch.command("engage")
def killswitch_engage(
    target: TargetName,
    reason: Reason,
    scope: Scope = "tools",
    skip_bootstrap: Annotated[
        bool, typer.Option("--skip-bootstrap", help="Start the revision with the switch without its bootstrap.")
    ] = False,
    wait: Wait = True,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Engage the switch by hand, and wait until every serving revision has it."""
    from tocsin.cli.switching import engage

    engage(root, target, scope, reason, skip=skip_bootstrap, wait=wait, output=output)


@killswitch.command("gate")
def killswitch_gate(target: TargetName, scope: Scope = "tools", root: Root = None, output: Form = Output.TEXT) -> None:
    """Show whether the evals allow a release now, with every check. Nothing is done."""
    from tocsin.cli.releasing import gate

    gate(root, target, scope, output)


@killswitch.command("stop")
def killswitch_stop(
    target: TargetName, reason: Reason, wait: Wait = True, root: Root = None, output: Form = Output.TEXT
) -> None:
    """Stop the whole app and prove it: the last resort, when no switch comes to serve. Running work is lost."""
    from tocsin.cli.switching import halt

    halt(root, target, reason, wait=wait, output=output)


@killswitch.command("start")
def killswitch_start(
    target: TargetName,
    reason: Reason,
    override: Annotated[
        bool, typer.Option("--override", help="Start it though the gate is red. It is audited and pages.")
    ] = False,
    wait: Wait = True,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Start an app that was stopped, when the evals allow it. It comes back with the switches as they were set."""
    from tocsin.cli.releasing import release
    from tocsin.core.container import WHOLE

    release(root, target, WHOLE, reason, override=override, wait=wait, output=output)


@killswitch.command("release")
def killswitch_release(
    target: TargetName,
    reason: Reason,
    scope: Scope = "tools",
    override: Annotated[
        bool, typer.Option("--override", help="Release though the gate is red. It is audited and pages.")
    ] = False,
    wait: Wait = True,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Release the switch when the evals allow it. A person does this, for a reason that stands in the audit."""
    from tocsin.cli.releasing import release

    release(root, target, scope, reason, override=override, wait=wait, output=output)
