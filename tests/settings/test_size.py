"""Ten thousand registrations: an edit costs what was edited, a look at nothing new costs next to nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.settings.test_manifests import REGISTRATION, SINK, SOURCE
from waypost.settings import Settings, TypesOf
from waypost.settings.folder import ManifestSet


def seconds(work: Callable[[], Settings], times: int = 1) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def test_an_edit_among_ten_thousand_registrations_costs_a_fraction(tmp_path: Path, types: TypesOf) -> None:
    for number in range(20):
        documents = (REGISTRATION.replace("name: web,", f"name: r{number}-{each},") for each in range(500))
        (tmp_path / f"{number}.yaml").write_text("---\n".join(documents))
    (tmp_path / "all.yaml").write_text(f"{SOURCE}---\n{SINK}")
    manifests = ManifestSet([tmp_path], types, still=False)
    first = seconds(lambda: manifests.read(0, 0))
    before = manifests.read(0, 0)
    assert before.complete
    assert len(before.registrations) == 10_000
    idle = seconds(lambda: manifests.read(1, 0), 5)
    path = tmp_path / "7.yaml"
    path.write_text(path.read_text().replace("name: r7-250,", "name: r7-new,"))
    edit = seconds(lambda: manifests.read(2, 0))
    after = manifests.read(2, 0)
    assert len(after.registrations) == 10_001  # the former name is absent for less than two seconds
    assert all(after.registrations[key] is item for key, item in before.registrations.items())
    assert edit < first / 8
    assert idle < first / 100


def test_an_edit_in_a_file_of_many_documents_reads_the_others_no_more(tmp_path: Path, types: TypesOf) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("---\n".join(REGISTRATION.replace("name: web,", f"name: r{each},") for each in range(2000)))
    manifests = ManifestSet([path], types, still=False)
    first = seconds(lambda: manifests.read(0, 0))
    path.write_text(path.read_text().replace("name: r7,", "name: other,"))
    edit = seconds(lambda: manifests.read(1, 0))
    assert "shop/other" in manifests.read(2, 0).registrations
    assert edit < first / 5


def test_twice_as_many_documents_cost_about_twice_as_much(tmp_path: Path, types: TypesOf) -> None:
    taken = []
    for count in (1000, 2000):
        folder = tmp_path / str(count)
        folder.mkdir()
        documents = (REGISTRATION.replace("name: web,", f"name: r{each},") for each in range(count))
        (folder / "m.yaml").write_text("---\n".join(documents))
        taken.append(min(seconds(lambda f=folder: ManifestSet([f], types, still=False).read(0, 0)) for _ in range(3)))  # type: ignore[misc]
    assert taken[1] < 3 * taken[0]
