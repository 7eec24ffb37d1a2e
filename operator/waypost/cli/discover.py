"""`waypost discover`: what a source sees, before any manifest asks for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from waypost.cli.arguments import Verbs, add_manifests, add_output, add_timeout
from waypost.cli.exits import OK, USAGE, CommandError

if TYPE_CHECKING:
    from waypost.engine.catalog import SourceView
    from waypost.plugins import Plugins
    from waypost.settings import Settings

__all__ = ["add"]

EPILOG = """
A value of --config is read as YAML. --credential names where a secret is (file:PATH or env:NAME), never the secret.

examples:
  waypost discover -f manifests/
  waypost discover -f manifests/ --source mesos-prod --instances
  waypost discover mesos --config 'masters=["http://10.0.0.1:5050"]'
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "discover",
        help="what a source sees, before any manifest",
        description="Reads a source once, and lists the services, with their labels, that it has.",
        epilog=EPILOG,
    )
    parser.add_argument("type", nargs="?", metavar="TYPE", help="a type of source, to try it without a manifest")
    parser.add_argument(
        "--config", metavar="KEY=VALUE", action="append", default=[], help="a field of the source's config"
    )
    parser.add_argument(
        "--credential",
        metavar="NAME=PLACE",
        action="append",
        default=[],
        help="where a secret is: file:PATH or env:NAME",
    )
    parser.add_argument("--source", metavar="NAME", help="one source of the manifests; else all of them")
    parser.add_argument("--instances", action="store_true", help="list the instances too")
    add_timeout(parser, 30.0, "a source")
    add_manifests(parser)
    add_output(parser)
    parser.set_defaults(verb=_discover)


def _discover(options: argparse.Namespace) -> int:
    from pathlib import Path

    from waypost.cli import state
    from waypost.cli.once import borrowed_state, run_once
    from waypost.plugins import Plugins

    plugins = Plugins()
    if bool(options.type) == bool(options.files):
        raise CommandError("name either manifests (-f PATH) or a type of source (TYPE --config KEY=VALUE)", USAGE)
    settings = _typed(options, plugins) if options.type else _declared(options, plugins)
    folder: Path | None = options.state_dir or (state.default_state_dir(options.files) if options.files else None)
    with borrowed_state(folder) as copy:
        found = run_once(lambda: _read(copy, plugins, settings, options.timeout))
    if options.output == "json":
        _write_json(found)
    else:
        _print(found, instances=options.instances)
    return OK


def _declared(options: argparse.Namespace, plugins: Plugins) -> Settings:
    """Return settings with the sources that are asked for, and no sink."""
    import msgspec

    from waypost.cli.output import complain
    from waypost.settings import read_once

    settings = read_once(options.files, plugins)
    for problem in settings.problems:
        complain(problem)
    chosen = {name: s for name, s in settings.sources.items() if options.source in {None, name}}
    if not chosen:
        known = ", ".join(sorted(settings.sources)) or "none"
        asked = f"source `{options.source}`" if options.source else "source"
        raise CommandError(f"there is no {asked} in the manifests; there are: {known}")
    return msgspec.structs.replace(settings, sources=chosen, sinks={})


def _typed(options: argparse.Namespace, plugins: Plugins) -> Settings:
    """Return settings with one source, made from the command line."""
    from pathlib import Path

    from waypost.settings import API_VERSION, ServiceSource, Settings, decode

    spec: dict[str, Any] = {"type": options.type, "environment": "discover", "config": _config(options.config)}
    if options.credential:
        spec["credentials"] = [_credential(text) for text in options.credential]
    document = {"apiVersion": API_VERSION, "kind": "ServiceSource", "metadata": {"name": "discover"}, "spec": spec}
    decoded = decode(document, plugins, Path.cwd())
    if not isinstance(decoded.object, ServiceSource):
        raise CommandError("; ".join(f"{'.'.join(map(str, f.path))}: {f.message}" for f in decoded.faults))
    return Settings(sources={"discover": decoded.object}, complete=True)


def _config(pairs: Sequence[str]) -> dict[str, Any]:
    import yaml

    config: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"--config {pair}: expected KEY=VALUE", USAGE)
        place = config
        *folders, last = name.split(".")
        for folder in folders:
            place = place.setdefault(folder, {})
            if not isinstance(place, dict):
                raise CommandError(f"--config {pair}: `{folder}` has a value already", USAGE)
        try:
            place[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise CommandError(
                f"--config {name}: its value is no YAML; put text with special characters in quotes", USAGE
            ) from None
    return config


def _credential(text: str) -> dict[str, str]:
    name, equals, place = text.partition("=")
    kind, colon, where = place.partition(":")
    if not (equals and colon and where) or kind not in {"file", "env"}:
        raise CommandError(
            "--credential: expected NAME=file:PATH or NAME=env:VARIABLE; a secret is never an argument", USAGE
        )
    return {"name": name, kind: where}


async def _read(folder: Any, plugins: Plugins, settings: Settings, timeout: float) -> list[SourceView]:
    from waypost.cli.once import dry_engine, wait_until_known

    async with dry_engine(folder, plugins, settings) as engine:
        await wait_until_known(engine, timeout, f"reading {', '.join(settings.sources)}")
        failed = []
        for name, view in sorted(engine.reconciler.views.items()):
            if not view.complete:
                runner = engine.sources.get(name)
                told = (
                    f"{runner.condition.reason}: {runner.condition.message}"
                    if runner is not None
                    else "it did not start"
                )
                failed.append(f"source {name} was not read whole: {told}")
        if failed or not engine.reconciler.views:
            raise CommandError("; ".join(failed) or "no source was started")
        return [view for _, view in sorted(engine.reconciler.views.items())]


def _write_json(views: Sequence[SourceView]) -> None:
    from waypost.cli.output import write_json

    write_json(
        [
            {
                "source": view.name,
                "services": [
                    {"key": key, "labels": known.labels, "instances": list(known.instances.values())}
                    for key, known in sorted(view.services.items())
                ],
            }
            for view in views
        ]
    )


def _print(views: Sequence[SourceView], *, instances: bool) -> None:
    from waypost.cli.output import clean, lines, table

    for view in views:
        lines(f"source {clean(view.name)}: {len(view.services)} services, {view.count} instances", "")
        if not view.services:
            continue
        rows: list[Sequence[object]] = []
        for key, known in sorted(view.services.items()):
            all_of_it = known.instances.values()
            ready = sum(i.readiness == "ready" for i in all_of_it)
            ports = sorted({(p.name or "-", p.protocol) for i in all_of_it for p in i.ports})
            labels = ",".join(f"{k}={v}" for k, v in sorted(known.labels.items()))
            told = ",".join(f"{name}/{protocol}" for name, protocol in ports)
            rows.append((key.namespace or "-", key.name, f"{ready}/{len(all_of_it)}", told or "-", labels[:120] or "-"))
            if instances:
                for i in all_of_it:
                    places = ",".join(a.value for a in i.addresses) + ":" + ",".join(str(p.number) for p in i.ports)
                    rows.append(("", f"  {i.id}", i.readiness, places, f"node={i.node or '-'} zone={i.zone or '-'}"))
        table(("NAMESPACE", "NAME", "READY", "PORTS", "LABELS"), rows)
        lines("")
