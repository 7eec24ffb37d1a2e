"""`waypost release --kubernetes`: to leave a cluster, what the chart does before it is uninstalled."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from waypost.cli.exits import FAILED, OK, USAGE, CommandError
from waypost.cli.released import until_released

__all__ = ["add_options", "leave"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what says so."""
    group = parser.add_argument_group("on Kubernetes", "with no Waypost running there, with --all or --finalizers")
    group.add_argument(
        "--kubernetes", action="store_true", help="what is asked for are custom resources, and no server is asked"
    )
    group.add_argument(
        "--finalizers",
        action="store_true",
        help="take Waypost's finalizer off all registrations, so that who deletes one need not wait; --all does, too",
    )
    group.add_argument("--deployment", metavar="NAME", help="scale this Deployment to none first")
    group.add_argument("--kubeconfig", metavar="FILE", type=Path, help="how to get in (default: as for `run`)")
    group.add_argument("--context", metavar="NAME", help="the kubeconfig's context (default: its current one)")
    group.add_argument(
        "--namespace",
        metavar="NAME",
        default=os.environ.get("WAYPOST_NAMESPACE", ""),
        help="Waypost's own namespace (default: as for `run`)",
    )


def leave(options: argparse.Namespace) -> int:
    """Do it; FAILED where something is ours still."""
    from waypost.cli import state
    from waypost.cli.once import run_once

    if options.registration or options.name or options.sink or options.undo or options.files:
        raise CommandError("--kubernetes goes with --all or with --finalizers, and with neither names nor -f", USAGE)
    if options.everything == options.finalizers:
        raise CommandError("--kubernetes needs --all or --finalizers, and one of them only", USAGE)
    if not options.yes:
        raise CommandError("it would leave the cluster: say --yes")
    with tempfile.TemporaryDirectory(prefix="waypost-") as folder:
        return run_once(lambda: _leave(options, state.make(Path(folder) / "state")))


async def _leave(options: argparse.Namespace, folder: Path) -> int:
    from waypost.adapter import AdapterError
    from waypost.cli.output import lines
    from waypost.engine.releases import Release, Releases
    from waypost.kit.clock import LoopClock
    from waypost.kit.kubernetes.api import connect
    from waypost.kube.leaving import asked_for, none_registered, stop, take_finalizers_off
    from waypost.kube.shell import home_namespace
    from waypost.plugins import Plugins

    clock, plugins, home = LoopClock(), Plugins(), home_namespace(options.namespace)
    try:
        async with connect(options.kubeconfig, options.context, clock=clock) as api:
            if options.deployment:
                await stop(api, home, options.deployment, clock)
            if options.finalizers and await none_registered(api):
                lines("registrations that wait for Waypost no longer: 0; their definition has gone already")
                return OK
            async with asked_for(api, plugins, home, clock, registrations_alone=options.finalizers) as asked:
                if options.everything:
                    Releases(folder).change(Release("", "", ""), undo=False)
                    left = await until_released(
                        options, folder, plugins, asked.settings, Release("", "", ""), secrets=asked.credentials
                    )
                    if left != OK:
                        return FAILED
                count = await take_finalizers_off(api, asked.book, clock)
                lines(f"registrations that wait for Waypost no longer: {count}")
    except AdapterError as error:
        raise CommandError(f"Kubernetes: {error}") from None
    return OK
