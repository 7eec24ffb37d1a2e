# A test's name is its sentence.
# ruff: noqa: D102
"""The tests of SinkConformance about text from other systems that is made to break out of its place."""

from __future__ import annotations

from waypost.adapter import Change, InvalidRecord, Record, fingerprint
from waypost.testing import rendering
from waypost.testing.sink_bench import SinkBench

__all__ = ["HostileConformance"]


class HostileConformance(SinkBench):
    """Ids, labels and names are untrusted: they come back unchanged, or are refused; nothing else is reached."""

    async def test_hostile_text_is_kept_as_it_is_or_refused(self) -> None:
        async with self.one() as ours:
            expected: dict[str, Record] = {}
            for number, attack in enumerate(rendering.ATTACKS):
                text = {"labels": {"label": attack}, "metadata": {"key": attack}, "zone": attack, "node": attack}
                cases = [
                    (rendering.instance(attack, number), "web"),
                    (rendering.instance(f"i-{number}", number, **text), "web"),
                ]
                for instance, stem in cases:
                    published = self.publication(stem)
                    for item in list(ours.sink.render(published, [instance])):
                        if isinstance(item, InvalidRecord):
                            assert len(str(item)) < 1000, "a reason for people of more than 1,000 characters"
                            continue
                        status = (await ours.apply(Change(item.key, item, create=True)))[item.key].status
                        assert status in ("applied", "invalid"), f"{attack[:40]!r}: {status}"
                        if status == "applied":
                            assert item.key not in expected, f"{attack[:40]!r} has the key of another"
                            expected[item.key] = item
            observed = await ours.observed()
            assert observed.keys() == expected.keys()
            for key, record in expected.items():
                seen = observed[key]
                assert seen.instance == record.instance, (
                    f"instance {record.instance[:40]!r} came back as {seen.instance[:40]!r}"
                )
                assert seen.fingerprint == fingerprint(record.content), f"{record.instance[:40]!r} reads differently"

    async def test_a_hostile_name_is_refused_or_kept_in_its_place(self) -> None:
        async with self.one() as ours:
            neighbour = self.record(ours.sink, "neighbour")
            await ours.put(neighbour)
            before = await self.read(neighbour.key)
            for attack in (*rendering.ATTACKS, "", ".", "-", "a..b", self.name("web") + "/neighbour"):
                published = rendering.publication([attack], options=self.options())
                for item in list(ours.sink.render(published, [rendering.instance("neighbour", 9)])):
                    if isinstance(item, InvalidRecord):
                        assert item.name == attack, "an InvalidRecord does not say which name it is about"
                        continue
                    assert item.key != neighbour.key, f"the name {attack[:40]!r} takes the key of another"
                    await ours.apply(Change(item.key, item, create=True))
            assert await self.read(neighbour.key) == before, "a hostile name reached another record"
