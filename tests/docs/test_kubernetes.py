"""docs/kubernetes.md: its commands are run in their order, on a real API server, and show what the page says."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from pathlib import Path

import pytest

from testbed.cache import program
from testbed.servers import Etcd, Kubernetes
from tests.docs.kubelet import WITH_US, Kubelet

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/kubernetes.md").read_text()
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECONDS = 90.0

# Nothing runs in pods: what is asked for there is run here.
KUBECTL = """\
#!/bin/sh
case " $* " in
*" -- python3 "*) while [ "$1" != -- ]; do shift; done; shift 2
  for state in {pods}/*/state; do WAYPOST_STATE_DIR=$state {python} "$@" || exit; done; exit;;
*" exec "*) while [ "$1" != -- ]; do shift; done; shift; exec "$@";;
esac
exec {kubectl} "$@"
"""
ETCDCTL = '#!/bin/sh\nexec {etcdctl} --endpoints={endpoint} "$@"\n'
HELM = '#!/bin/sh\nexec {helm} "$@"\n'
WAYPOST = """\
#!/bin/sh
case "$1" in run) set -- "$@" --admin=127.0.0.1:0;; esac  # its own port may be another's here
exec {python} -m waypost "$@"
"""


class Newcomer:
    """Types what the page says, in a checkout, with the programs that it names."""

    def __init__(self, folder: Path, cluster: Kubernetes, etcd: Etcd) -> None:
        self.checkout = folder / "checkout"
        self.running: list[Process] = []
        for name in ("charts", "crds", "examples"):
            shutil.copytree(ROOT / name, self.checkout / name)
        for file in (self.checkout / "examples/kubernetes").glob("*.yaml"):
            file.write_text(file.read_text().replace("http://etcd.etcd:2379", etcd.endpoint))
        programs = folder / "bin"
        programs.mkdir()
        for name, text in {"kubectl": KUBECTL, "etcdctl": ETCDCTL, "helm": HELM, "waypost": WAYPOST}.items():
            file = programs / name
            file.write_text(
                text.format(
                    kubectl=program("kube", "kubectl"),
                    etcdctl=program("etcd", "etcdctl"),
                    helm=program("helm", "helm"),
                    python=sys.executable,
                    pods=folder / "pods",
                    endpoint=etcd.endpoint,
                )
            )
            file.chmod(0o700)
        self.environ = {
            **os.environ,
            "HOME": str(folder),
            "PATH": f"{programs}:/usr/bin:/bin",
            "KUBECONFIG": str(cluster.kubeconfig),
        }

    async def end(self) -> None:
        """End what was left running."""
        for process in self.running:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), 30)

    async def types(self, text: str) -> str:
        """Run it in a shell; a command that fails, fails all. What ends in `&` goes on until the end."""
        for line in (line for line in text.splitlines() if line.endswith(" &")):
            before, _, text = text.partition(f"{line}\n")
            await self.types(before)
            self.running.append(await self._shell(f"exec {line[:-2]}", DEVNULL))
        shell = await self._shell(text, PIPE)
        try:
            said = (await asyncio.wait_for(shell.communicate(), SECONDS))[0].decode()
        except TimeoutError:
            raise AssertionError(f"{text}\ndoes not end") from None
        finally:
            if shell.returncode is None:
                shell.kill()
                await shell.wait()
        assert shell.returncode == 0, f"{text}\n{said}"
        return said

    async def _shell(self, text: str, out: int) -> Process:
        strict = (*WITH_US, "bash", "-euo", "pipefail", "-c", text)
        return await asyncio.create_subprocess_exec(
            *strict, stdin=DEVNULL, stdout=out, stderr=STDOUT, cwd=self.checkout, env=self.environ
        )


async def follows(newcomer: Newcomer) -> None:
    """Go through the page."""
    command = said = ""
    for language, text in BLOCK.findall(PAGE):
        if language == "sh":
            command, said = text, await newcomer.types(text)
            continue
        end = time.monotonic() + SECONDS
        while not shown(text, said):
            assert time.monotonic() < end, f"{command}\nsaid\n{said}\nand not\n{text}"
            said = await newcomer.types(command.splitlines()[-1])  # it only reads; what it shows comes when it is done


def shown(expected: str, said: str) -> bool:
    """Say whether each line of the page was printed; `…` stands for anything, spaces for any number of them."""
    printed = [" ".join(line.split()) for line in said.splitlines()]
    for line in expected.splitlines():
        pattern = re.escape(" ".join(line.split())).replace("…", ".*")
        found = next((each for each in printed if re.fullmatch(pattern, each)), None)
        if found is None:
            return False
        printed.remove(found)
    return True


@pytest.mark.timeout(400)  # ten processes, one after the other
@pytest.mark.server("kube", "etcd", "helm")
async def test_each_command_does_what_the_page_says(tmp_path: Path) -> None:
    async with Kubernetes(tmp_path / "cluster") as cluster, Etcd(tmp_path / "etcd", unsafe_no_fsync=True) as etcd:
        newcomer = Newcomer(tmp_path, cluster, etcd)
        (tmp_path / "pods").mkdir()
        kubelet = Kubelet(cluster, tmp_path / "pods")
        async with kubelet.serving():
            try:
                await follows(newcomer)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{kubelet.logs()}") from None
            finally:
                await newcomer.end()
