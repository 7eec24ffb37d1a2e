"""What every source promises, and what is special about this one: `pytest` in this folder runs both."""

import pytest
import waypost_inventory
from waypost_inventory import Config, parse

from waypost.adapter import AdapterError
from waypost.testing.conformance_source import SourceConformance


class TestInventory(SourceConformance):
    """The tests are the suite's; these are its hooks. They act on the real system beside the source: on the file."""

    @pytest.fixture(autouse=True)
    def inventory(self, tmp_path):
        self.path = tmp_path / "inventory.txt"
        self.lines = []
        self.last = 0
        self.write()

    def write(self):
        """Replace the file in one step, as whoever writes such a file should."""
        whole = self.path.with_suffix(".new")
        whole.write_text("\n".join([*self.lines, "# end", ""]))
        whole.replace(self.path)

    def open(self, context):
        return waypost_inventory.open_source(Config(str(self.path), poll_seconds=1.0), context)

    async def create(self, name, count):
        made = []
        for _ in range(count):
            self.last += 1
            made.append(f"{name} 10.0.0.{self.last} 8080 version=1")
        self.lines += made
        self.write()
        return made

    async def destroy(self, instance):
        self.lines.remove(instance)
        self.write()

    async def empty(self):
        self.lines.clear()
        self.write()

    async def interrupt(self):
        self.path.unlink()

    async def resume(self):
        self.write()


def test_a_line_is_an_instance():
    (web,) = parse("inv", "# what runs where\nweb 10.0.0.7 8080 version=2 tier=gold\nweb 2001:db8::7 8080\n# end\n")
    assert [instance.id for instance in web.instances] == ["10.0.0.7:8080", "2001:db8::7:8080"]
    assert web.instances[0].labels == {"version": "2", "tier": "gold"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("web 10.0.0.7 8080\n", "still being written"),
        ("", "still being written"),
        ("web 10.0.0.7\n# end", "line 1"),
        ("\nweb ten 8080\n# end", "line 2: 'ten'"),
        ("web 10.0.0.7 0\n# end", "port 0"),
        ("web 10.0.0.7 80 version\n# end", "line 1"),
    ],
)
def test_what_is_not_whole_is_an_error_and_never_a_shorter_list(text, error):
    with pytest.raises(AdapterError, match=error):
        parse("inv", text)
