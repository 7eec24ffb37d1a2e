"""`kubectl waypost`: the verbs that ask, of the leader on Kubernetes. kubectl finds the program by its name."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waypost import __version__
from waypost.cli import changes, explain, holds, pause, status, whois
from waypost.cli.arguments import Parser
from waypost.cli.ending import ended
from waypost.cli.exits import CommandError

if TYPE_CHECKING:
    from waypost.cli.asking import Server
    from waypost.kube.leader import LeaderPod

__all__ = ["main", "within"]

PROGRAM = "kubectl waypost"
EPILOG = """
Everything is asked of the API server, with your own rights: to read the Lease and the pod, and `get` of pods/proxy.
To approve or reject, `patch` of serviceholds. To pause, to resume, and to read where that needs the admin token (the
chart's default): `create` of pods/exec, for the verb then runs within the leader's pod.

examples:
  kubectl waypost status
  kubectl waypost explain shop/web
  kubectl waypost holds
  kubectl waypost -n waypost approve consul-prod-7f3a9c21 --reason 'CHG-4711: old Mesos switched off'
"""


class _Parser(Parser):
    finds_server = True

    def __init__(self, *args: Any, **more: Any) -> None:
        """Let the verbs' own texts speak of this program."""
        if "epilog" in more and more["epilog"] is not EPILOG:
            kept = [
                line for line in more["epilog"].splitlines() if "--server" not in line and "--state-dir" not in line
            ]
            more["epilog"] = "\n".join(kept).replace("  waypost ", "  kubectl waypost ")
        if "description" in more:
            more["description"] = more["description"].replace(" Needs the token.", "")
        super().__init__(*args, **more)


def parser() -> Parser:
    """Return the parser of the verbs."""
    made = _Parser(
        prog=PROGRAM,
        description="Asks the Waypost that leads in a cluster, and decides on what waits for a person.",
        epilog=EPILOG,
    )
    made.add_argument("--version", action="version", version=f"kubectl-waypost {__version__}")
    made.add_argument(
        *("-n", "--namespace"),
        dest="home",
        metavar="NAME",
        default=os.environ.get("WAYPOST_NAMESPACE", ""),
        help="Waypost's own namespace (default: $WAYPOST_NAMESPACE, else the pod's, else `waypost`)",
    )
    made.add_argument("--lease", metavar="NAME", default="waypost", help="its Lease (default: waypost)")
    made.add_argument(
        "--kubeconfig", metavar="FILE", type=Path, help="(default: the pod's service account, else as kubectl has it)"
    )
    made.add_argument("--context", metavar="NAME", help="the kubeconfig's context (default: its current one)")
    made.set_defaults(found=_leader, program=PROGRAM)
    verbs = made.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=_Parser)
    for verb in (status, explain, whois, changes, holds, pause):
        verb.add(verbs)
    return made


def _leader(options: argparse.Namespace) -> Server:
    from waypost.cli.leader import Leader

    return Leader(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    return ended(lambda: _run(options, given))


def _run(options: argparse.Namespace, given: Sequence[str]) -> int:
    from waypost.cli.leader import WithinPod

    try:
        done: int = options.verb(options)
    except WithinPod as told:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise CommandError("this needs kubectl, which is not on $PATH, to run within the leader's pod") from None
        command = [kubectl, *within(told.pod, options.kubeconfig, options.context, verb_of(given))]
        return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603 - a list, no shell
    return done


def verb_of(given: Sequence[str]) -> list[str]:
    """Return the verb and what follows, without the options before it, each of which has a value."""
    at = 0
    while given[at].startswith("-"):
        whole = "=" in given[at] if given[at].startswith("--") else len(given[at]) > len("-n")
        at += 1 if whole else 2
    return list(given[at:])


def within(pod: LeaderPod, kubeconfig: Path | None, context: str | None, words: Sequence[str]) -> list[str]:
    """Return what kubectl is told, for a verb to run within a pod; server and token are found there."""
    return [
        *([f"--kubeconfig={kubeconfig}"] if kubeconfig else []),
        *([f"--context={context}"] if context else []),
        *("exec", f"--namespace={pod.namespace}", pod.name, f"--container={pod.container}", "--"),
        *("python3", "-m", "waypost", *words),
    ]
