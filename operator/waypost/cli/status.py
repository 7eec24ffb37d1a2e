"""`waypost status`: how a running server sees its sources, sinks and registrations."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from waypost.cli.arguments import Verbs, add_asking
from waypost.cli.exits import OK

if TYPE_CHECKING:
    from waypost.cli.asking import Server
    from waypost.engine.status import Overview, RegistrationReport

__all__ = ["add"]

EPILOG = """
examples:
  waypost status
  waypost status shop/web
  waypost status --namespace shop --output json
  waypost status --server http://127.0.0.1:7470
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "status",
        help="how a running server sees everything, or one registration",
        description="Asks a running server how its sources, sinks and registrations stand.",
        epilog=EPILOG,
    )
    parser.add_argument("registration", nargs="?", metavar="NAMESPACE/NAME", help="one registration; else everything")
    parser.add_argument("--namespace", metavar="NAMESPACE", default="", help="registrations of this namespace only")
    add_asking(parser)
    parser.set_defaults(verb=_status)


def _status(options: argparse.Namespace) -> int:
    from waypost.cli.asking import find
    from waypost.cli.output import write_json
    from waypost.engine.status import RegistrationReport

    server = find(options)
    if options.registration:
        name = options.registration if "/" in options.registration else f"default/{options.registration}"
        report = server.get("/v1/status", RegistrationReport, registration=name)
        if options.output == "json":
            write_json(report)
        else:
            _one(report)
        return OK
    whole = _whole(server, options.namespace)
    if options.output == "json":
        write_json(whole)
    else:
        _print(whole)
    return OK


def _whole(server: Server, namespace: str) -> Overview:
    """Ask page by page."""
    import msgspec

    from waypost.engine.status import Overview

    whole = server.get("/v1/status", Overview, namespace=namespace)
    after = whole.after
    while after is not None:
        page = server.get("/v1/status", Overview, namespace=namespace, after=after)
        whole.registrations.extend(page.registrations)
        after = page.after
    return msgspec.structs.replace(whole, after=None)


def _print(whole: Overview) -> None:
    from waypost.cli.output import ago, lines, table

    if whole.sources:
        table(
            ("SOURCE", "TYPE", "ENVIRONMENT", "STATE", "SERVICES", "INSTANCES", "READY", "DOUBTED", "READ"),
            (
                (
                    *(s.name, s.type, s.environment, s.condition.reason + (" (stale)" if s.stale else "")),
                    *(s.services, s.instances, s.ready_instances, s.doubted, ago(s.last_read_seconds)),
                )
                for s in whole.sources
            ),
        )
        lines("")
    if whole.sinks:
        table(
            ("SINK", "TYPE", "ENVIRONMENT", "MODE", "STATE", "RECORDS", "PENDING", "HELD", "FAILED", "CONFLICTS"),
            (
                (
                    *(s.name, s.type, s.environment, s.mode, s.condition.reason),
                    *(s.records, s.pending, s.held, s.failed, s.conflicting),
                )
                for s in whole.sinks
            ),
        )
        lines("")
    if whole.registrations:
        table(
            ("REGISTRATION", "READY", "SERVICES", "INSTANCES", "RECORDS", "WHY NOT"),
            (_row(report) for report in whole.registrations),
        )
    lines(*_notes(whole))


def _notes(whole: Overview) -> Iterator[str]:
    """Say what a person should know beside the tables."""
    from waypost.cli.output import paint

    colour = paint()
    for kind, reports in (("source", whole.sources), ("sink", whole.sinks)):
        for each in reports:
            if not each.condition.ok and each.condition.message:
                yield f"{colour(f'{kind} {each.name}', 'red')}: {colour(each.condition.message, 'bold')}"
            for reason, message in sorted(each.warnings.items()):
                yield f"{colour(f'{kind} {each.name}', 'yellow')}: {colour(f'{reason}: {message}', 'bold')}"
    for hold in whole.holds:
        counts = f"{hold.removals} removals, {hold.changes} changes"
        yield f"{colour(f'hold {hold.name}', 'yellow')}: {hold.cause}, {counts}, {hold.decision or 'undecided'}"
    told = whole.manifests
    for problem in told.problems:
        yield f"{colour('manifest', 'red')}: {colour(problem, 'bold')}"
    if not told.read:
        yield "the manifests have not been read yet"
    elif not told.complete:
        yield f"{told.problem_count} problems in the manifests: nothing is deleted until all of them can be read"
    yield from _leadership(whole)


def _leadership(whole: Overview) -> Iterator[str]:
    from waypost.cli.output import paint

    colour, told = paint(), whole.leadership
    if told.term is not None:
        yield f"leader: this process leads and writes, in term {told.term}"
    elif not whole.leads:
        who = (
            f"{told.leader} leads and writes, in term {told.leader_term}" if told.leader else "nobody is known to lead"
        )
        yield f"{colour('standby', 'yellow')}: {who}"
    if told.problem:
        yield f"{colour('elector', 'red')}: {colour(told.problem, 'bold')}"


def _row(report: RegistrationReport) -> tuple[object, ...]:
    status = report.status
    ready = next((c for c in status.conditions if c.type == "Ready"), None)
    wrong = next((c for c in status.conditions if c.status == "False"), None)
    why = f"{wrong.type}: {wrong.message or wrong.reason}" if wrong is not None else ""
    return (
        report.key,
        "yes" if ready is not None and ready.status == "True" else "no",
        status.services,
        f"{status.ready_instances}/{status.instances}",
        sum(sink.records for sink in status.sinks),
        why[:100],
    )


def _one(report: RegistrationReport) -> None:
    from waypost.cli.output import lines, paint, table

    colour = paint()
    status = report.status
    lines(colour(report.key, "bold"), "")
    good = {"Held": "False", "Conflicted": "False"}
    for condition in status.conditions:
        is_good = condition.status == good.get(condition.type, "True")
        told = colour(f"{condition.type}={condition.status}", "green" if is_good else "red")
        why = "" if condition.reason == condition.type else condition.reason
        lines(f"  {told} {colour(': '.join(filter(None, (why, condition.message))), 'bold')}".rstrip())
    if status.sources:
        lines("")
        table(
            ("FROM", "SERVICES", "INSTANCES", "READY", "STALE"),
            ((s.name, s.services, s.instances, s.ready_instances, "yes" if s.stale else "no") for s in status.sources),
        )
    if status.sinks:
        lines("")
        table(
            ("TO", "RECORDS", "PENDING", "HELD", "FAILED", "CONFLICTS", "WHY NOT"),
            ((s.name, s.records, s.pending, s.held, s.failed, s.conflicting, s.reason) for s in status.sinks),
        )
    for problem in status.problems:
        lines("", colour(problem, "yellow"))
