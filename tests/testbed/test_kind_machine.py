"""What a machine lacks to carry a kind cluster is said; what the nodes change of it is put back."""

from pathlib import Path

import pytest

from testbed import kind_machine


async def test_what_is_missing_is_told_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "possible.sh"
    script.write_text('echo "an overlay in $1 (denied)"; echo "bridges (no such device)"; exit 1\n')
    monkeypatch.setattr(kind_machine, "SCRIPT", script)
    assert await kind_machine.lacking(Path("/x")) == ["an overlay in /x (denied)", "bridges (no such device)"]


async def test_a_machine_that_lacks_nothing_is_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "possible.sh"
    script.write_text("exit 0\n")
    monkeypatch.setattr(kind_machine, "SCRIPT", script)
    assert await kind_machine.lacking(tmp_path) == []


def test_settings_that_were_changed_are_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind_machine, "SYSCTLS", tmp_path)
    for name in kind_machine.CHANGED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("0\n")
    found = kind_machine.settings()
    (tmp_path / "kernel/panic").write_text("10\n")
    kind_machine.restore(found)
    assert (tmp_path / "kernel/panic").read_text() == "0\n"
