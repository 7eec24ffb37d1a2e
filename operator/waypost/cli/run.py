"""`waypost run`: the operator itself, until it is told to end. What is published stays when it ends."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from waypost.cli.arguments import Verbs, add_elector, add_manifests
from waypost.cli.exits import OK, USAGE, CommandError
from waypost.cli.logs import FORMATS, LEVELS

__all__ = ["add"]

EPILOG = """
signals:
  SIGTERM, SIGINT  end within 5 seconds; nothing is deregistered
  SIGHUP           read the manifests again at once

examples:
  waypost run -f manifests/
  waypost run -f sources.yaml -f shop/ --state-dir /var/lib/waypost --log-format json
  waypost run -f manifests/ --admin 127.0.0.1:0     # any free port; the other verbs find it by the state folder
  waypost run --kubernetes --namespace waypost      # manifests are custom resources; one of several leads, by a Lease
  waypost run -f manifests/ --elector etcd --elector-config elector.yaml      # one of several; see high-availability.md
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "run",
        help="keep the sinks equal to what the manifests ask for",
        description="Follows the manifests and the sources, and keeps the sinks equal to what is asked for.",
        epilog=EPILOG,
    )
    add_manifests(parser)
    _add_kubernetes(parser)
    parser.add_argument(
        "--admin",
        metavar="ADDRESS:PORT",
        default=os.environ.get("WAYPOST_ADMIN", "127.0.0.1:7470"),
        help="where probes, metrics and the other verbs ask (default: $WAYPOST_ADMIN, else 127.0.0.1:7470)",
    )
    parser.add_argument(
        "--admin-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a host name, beside localhost and IP addresses, under which it may be asked",
    )
    parser.add_argument(
        "--admin-reads",
        choices=("auto", "open", "token"),
        default="auto",
        help="who may read metrics and status: auto (the default) is open on loopback, and with the token elsewhere",
    )
    add_elector(parser)
    parser.add_argument("--log-format", choices=FORMATS, default="text", help="(default: text)")
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="(default: info)")
    parser.set_defaults(verb=_run)


def _add_kubernetes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("on Kubernetes", "in place of -f")
    group.add_argument(
        "--kubernetes",
        action="store_true",
        help="the manifests are custom resources; of several processes one leads, by a Lease",
    )
    group.add_argument(
        "--kubeconfig",
        metavar="FILE",
        type=Path,
        help="how to get in (default: the pod's service account, else $KUBECONFIG, else ~/.kube/config)",
    )
    group.add_argument("--context", metavar="NAME", help="the kubeconfig's context (default: its current one)")
    group.add_argument(
        "--namespace",
        metavar="NAME",
        default=os.environ.get("WAYPOST_NAMESPACE", ""),
        help="Waypost's own namespace, of its Lease and its Secrets (default: $WAYPOST_NAMESPACE, else the pod's, else"
        " `waypost`)",
    )
    group.add_argument(
        "--probe",
        metavar="ADDRESS:PORT",
        default=os.environ.get("WAYPOST_PROBE", ""),
        help="where a probe finds /healthz, which fails where the process stands still (default: $WAYPOST_PROBE, else"
        " nowhere; the admin server has one too)",
    )
    group.add_argument("--lease", metavar="NAME", default="waypost", help="the Lease's name (default: waypost)")
    group.add_argument(
        "--lease-seconds",
        metavar="N",
        type=int,
        choices=range(2, 61),
        default=10,
        help="after so many seconds without a sign of the leader another leads, 2 to 60 (default: 10)",
    )


def _run(options: argparse.Namespace) -> int:
    from waypost.cli import state
    from waypost.cli.logs import start_logs
    from waypost.cli.process import serve_until_told

    if bool(options.files) == options.kubernetes:
        raise CommandError("either -f PATH or --kubernetes is required, and only one of them", USAGE)
    folder = state.make(options.state_dir or _default_state_dir(options))
    start_logs(options.log_format, options.log_level)
    with state.locked(folder):
        (folder / state.ADDRESS_FILE).unlink(missing_ok=True)  # what a killed process left
        serve_until_told(options, folder)
    return OK


def _default_state_dir(options: argparse.Namespace) -> Path:
    from waypost.cli import state

    if options.kubernetes:
        return state.state_home() / f"kubernetes-{options.namespace or 'waypost'}"
    return state.default_state_dir(options.files)
