"""Witnesses: what other people's programs read from the servers that Waypost wrote to.

python-consul2, etcd3 and pymesos run as processes in an environment of their own, `dig` is the machine's. Each call
starts a process (0.2–0.5 s): for the end of a test, not for its middle. A refusal or a time-out raises WitnessError.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.cache import program
from testbed.parts import require
from testbed.tls import Authority, Certificate

PROGRAM = Path(__file__).with_name("witness_program.py")
TIMEOUT = 30  # seconds


class WitnessError(Exception):
    """The witness could not read; the message is what it said."""


async def _run(*argv: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    running = await asyncio.create_subprocess_exec(
        *argv,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            out, err = await running.communicate()
    except TimeoutError as error:
        raise WitnessError(f"{argv[0]} did not end within {TIMEOUT} s") from error
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    assert running.returncode is not None
    return running.returncode, out.decode(errors="replace"), err.decode(errors="replace")


async def _ask(verb: str, **argument: object) -> Any:
    require("witness")
    # etcd3's generated code is older than what protobuf's fast implementation accepts.
    env = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python", "PYTHONWARNINGS": "ignore"}
    status, out, err = await _run(
        program("witness", "bin/python"), "-B", str(PROGRAM), verb, json.dumps(argument), env=env
    )
    if status != 0:
        raise WitnessError(f"{verb}: {err}")
    return json.loads(out)


async def consul_services(
    address: str,
    *,
    token: str | None = None,
    tls: Authority | None = None,
    name: str | None = None,
    dc: str | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """The services of a Consul (URL), or the one called `name`, as python-consul2 reads them.

    By name a list of instances: `id`, `node`, `node_meta`, `address`, `port`, `tags` (sorted), `meta`, `weights` and
    `checks` (by id: `name`, `status`, `output`). Consul's own service is left out.
    """
    ca = str(tls.certificate) if tls else None
    found: dict[str, list[dict[str, Any]]] = await _ask(
        "consul_services", address=address, token=token, ca=ca, name=name, dc=dc
    )
    return found


async def etcd_prefix(
    endpoint: str,
    prefix: str = "",
    *,
    tls: Authority | None = None,
    certificate: Certificate | None = None,
    user: str | None = None,
    password: str | None = None,
) -> dict[str, str]:
    """The keys with this prefix and their values, as etcd3 reads them; `certificate`: the client's, with TLS."""
    files = {
        "ca": str(tls.certificate) if tls else None,
        "certificate": str(certificate.certificate) if certificate else None,
        "key": str(certificate.key) if certificate else None,
    }
    found: dict[str, str] = await _ask(
        "etcd_prefix", endpoint=endpoint, prefix=prefix, user=user, password=password, **files
    )
    return found


async def mesos_tasks(master: str) -> list[dict[str, Any]]:
    """The tasks that a Mesos master (HOST:PORT) lists now, as pymesos' operator driver reads them."""
    found: list[dict[str, Any]] = await _ask("mesos_tasks", master=master)
    return found


@dataclass(frozen=True)
class DigAnswer:
    """What dig understood. `answers`: (name, TTL, type, data) of the answer section; names end with a dot."""

    status: str  # NOERROR, NXDOMAIN, SERVFAIL, REFUSED, …
    flags: frozenset[str]
    answers: tuple[tuple[str, int, str, str], ...]
    text: str

    @property
    def data(self) -> list[str]:
        """The data of the answers, sorted: addresses, or `priority weight port target` of SRV."""
        return sorted(data for *_, data in self.answers)


async def dig(server: str, port: int, name: str, rdtype: str = "A", *, tcp: bool = False) -> DigAnswer:
    """Ask a DNS server once, without a search list; raises WitnessError when it does not answer in 3 s."""
    require("dig")
    options = ["+tries=1", "+time=3", "+nosearch", *(["+tcp"] if tcp else ["+ignore"])]
    argv = ["dig", f"@{server}", "-p", str(port), "-q", name, "-t", rdtype, *options]
    status, out, err = await _run(*argv)
    if status != 0:
        raise WitnessError(f"dig {name} {rdtype}: {out}{err}")
    header = next(line for line in out.splitlines() if "->>HEADER<<-" in line)
    flags = next(line for line in out.splitlines() if line.startswith(";; flags:"))
    return DigAnswer(
        status=header.partition("status: ")[2].partition(",")[0],
        flags=frozenset(flags.partition("flags:")[2].partition(";")[0].split()),
        answers=tuple(_answers(out)),
        text=out,
    )


def _answers(out: str) -> list[tuple[str, int, str, str]]:
    """The lines of dig's answer section."""
    section = out.partition(";; ANSWER SECTION:\n")[2].partition("\n\n")[0]
    fields = (line.split(None, 4) for line in section.splitlines() if line and not line.startswith(";"))
    return [(name, int(ttl), rdtype, data) for name, ttl, _, rdtype, data in fields]
