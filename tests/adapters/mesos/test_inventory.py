"""What is known follows from what was said: from a recording, in comparison with a plain model, and across views."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.mesos.fake_master import STATE, dumps
from tests.adapters.mesos.test_recordio import WHOLE
from waypost.adapter import AdapterError
from waypost.kit.problems import Problems
from waypost.model import Instance, Service, ServiceKey
from waypost.testing.context import RecordedMetrics
from waypost_adapters.mesos import wire
from waypost_adapters.mesos.absence import Absence
from waypost_adapters.mesos.config import Naming
from waypost_adapters.mesos.events import After, apply, decode
from waypost_adapters.mesos.inventory import Inventory
from waypost_adapters.mesos.view import View


class Rig:
    """An inventory with what it stands on."""

    def __init__(self, naming: Naming | None = None) -> None:
        self.metrics = RecordedMetrics()
        log = logging.LoggerAdapter(logging.getLogger("test.mesos"), {})
        self.problems = Problems(log, self.metrics, "mesos_problems_total")
        self.inventory = Inventory("m", naming or Naming(), self.problems)
        self.absence = Absence()

    def say(self, type: str, **fields: Any) -> After:
        event = decode(dumps({"type": type, **fields}))
        assert isinstance(event, wire.Event), event
        return apply(event, self.inventory, self.absence)

    def view(self, state: dict[str, Any], between: Any = None) -> View:
        self.inventory.begin_view()
        view = View(self.inventory, self.problems)
        text = dumps({"type": "GET_STATE", "get_state": state})
        if between is not None:
            between()
        for _ in view.feed(text):
            pass
        view.end("GET_STATE")
        self.inventory.end_agents()
        for _ in self.inventory.end_view():
            pass
        return view

    @property
    def services(self) -> dict[str, Service]:
        found = {key: self.inventory.service(key) for key in self.inventory.groups}
        return {f"{key.namespace}/{key.name}": service for key, service in found.items() if service is not None}

    def names(self) -> dict[str, list[str]]:
        return {
            name: sorted(instance.id.partition("/")[2] for instance in service.instances)
            for name, service in self.services.items()
        }

    def started(self) -> Rig:
        self.say("FRAMEWORK_ADDED", framework_added={"framework": {"framework_info": framework("f", "marathon")}})
        self.say("AGENT_ADDED", agent_added={"agent": agent("S1")})
        return self


def framework(id: str, name: str) -> dict[str, Any]:
    return {"id": {"value": id}, "name": name}


def agent(id: str, *, host: str = "10.0.0.1", active: bool = True) -> dict[str, Any]:
    return {
        "agent_info": {"id": {"value": id}, "hostname": f"{id.lower()}.example"},
        "pid": f"slave(1)@{host}:5051",
        "active": active,
    }


def task(id: str, *, name: str = "web", state: str = "TASK_RUNNING", on: str = "S1", **labels: str) -> dict[str, Any]:
    return {
        "name": name,
        "task_id": {"value": id},
        "framework_id": {"value": "f"},
        "agent_id": {"value": on},
        "state": state,
        "labels": {"labels": [{"key": key, "value": value} for key, value in labels.items()]},
    }


def update(id: str, state: str, **status: Any) -> dict[str, Any]:
    return {
        "framework_id": {"value": "f"},
        "state": state,
        "status": {"task_id": {"value": id}, "state": state, **status},
    }


def state(*tasks: dict[str, Any], agents: tuple[str, ...] = ("S1",), **more: Any) -> dict[str, Any]:
    return {
        "get_tasks": {"tasks": tasks, "completed_tasks": [task("old", state="TASK_FINISHED")], **more},
        "get_executors": {"executors": [{"executor_info": {"tasks": [task("no")]}}]},
        "get_frameworks": {
            "frameworks": [{"framework_info": framework("f", "marathon")}],
            "completed_frameworks": [{"framework_info": framework("g", "gone")}],
        },
        "get_agents": {"agents": [agent(each) for each in agents]},
    }


def test_a_recorded_stream_is_followed_to_its_end() -> None:
    rig = Rig()
    rig.inventory.begin_view()
    view = View(rig.inventory, rig.problems)
    for _ in view.feed(WHOLE[0]):
        pass
    view.end("SUBSCRIBED")
    for _ in rig.inventory.end_view():
        pass
    assert rig.names() == {"marathon.prod/before": ["before.1"]}
    widest: dict[str, list[str]] = {}
    for record in WHOLE[1:]:
        event = decode(record)
        assert isinstance(event, wire.Event)
        assert apply(event, rig.inventory, rig.absence) is After.NOTHING
        widest |= rig.names()
    assert widest.keys() == {
        *(f"marathon.prod/{name}" for name in ("before", "web", "plain", "net", "mapped", "well", "ill", "lost")),
        "marathon.prod/left",
        "batch/web",
    }
    assert not rig.services, "all was killed in the end"
    assert not rig.inventory.tasks
    assert not rig.metrics.counters


def test_a_recorded_state_is_read() -> None:
    rig = Rig()
    rig.view(STATE)
    readiness = {name: {i.readiness for i in service.instances} for name, service in rig.services.items()}
    assert readiness["marathon.prod/lost"] == {"unknown"}
    assert readiness["marathon.prod/ill"] == {"not-ready"}
    assert readiness["marathon.prod/web"] == {"ready"}
    assert rig.services["marathon.prod/web"].labels["team"] == "a}],{[\\"
    (web,) = rig.services["batch/web"].instances
    assert web.zone == "z1"
    assert web.node == web.addresses[0].value


def test_a_task_waits_for_its_agent_and_its_framework() -> None:
    rig = Rig()
    rig.say("TASK_ADDED", task_added={"task": task("web.1")})
    assert not rig.services
    rig.say("AGENT_ADDED", agent_added={"agent": agent("S1")})
    assert not rig.services
    rig.say("FRAMEWORK_ADDED", framework_added={"framework": {"framework_info": framework("f", "marathon")}})
    assert rig.names() == {"marathon/web": ["web.1"]}
    assert not rig.inventory.waiting


def test_an_agent_with_another_address_moves_its_instances() -> None:
    rig = Rig().started()
    rig.say("TASK_ADDED", task_added={"task": task("web.1")})
    rig.say("AGENT_ADDED", agent_added={"agent": agent("S1", host="10.0.0.2")})
    assert rig.services["marathon/web"].instances[0].addresses[0].value == "10.0.0.2"


def test_a_framework_with_another_name_moves_its_services() -> None:
    rig = Rig().started()
    rig.say("TASK_ADDED", task_added={"task": task("web.1")})
    renamed = {"framework": {"framework_info": framework("f", "cron")}}
    rig.say("FRAMEWORK_UPDATED", framework_updated=renamed)
    assert rig.names() == {"cron/web": ["web.1"]}
    assert {str(key) for key in rig.inventory.dirty} >= {"m/marathon/web", "m/cron/web"}


def test_an_agent_or_framework_that_is_removed_takes_its_tasks() -> None:
    rig = Rig().started()
    rig.say("AGENT_ADDED", agent_added={"agent": agent("S2")})
    for id, on in (("a", "S1"), ("b", "S2"), ("c", "S2")):
        rig.say("TASK_ADDED", task_added={"task": task(id, on=on)})
    rig.say("TASK_UPDATED", task_updated=update("c", "TASK_UNREACHABLE"))
    rig.say("AGENT_REMOVED", agent_removed={"agent_id": {"value": "S2"}})
    assert rig.names() == {"marathon/web": ["a", "c"]}, "what cannot be reached is not known to have ended"
    rig.say("FRAMEWORK_REMOVED", framework_removed={"framework_info": framework("f", "marathon")})
    assert not rig.services
    assert not rig.inventory.tasks


def test_an_update_of_an_unknown_task_that_lives_asks_for_a_view() -> None:
    rig = Rig().started()
    assert rig.say("TASK_UPDATED", task_updated=update("x", "TASK_RUNNING")) is After.VIEW
    assert rig.say("TASK_UPDATED", task_updated=update("x", "TASK_KILLED")) is After.NOTHING
    assert rig.say("TASK_TELEPORTED") is After.VIEW
    assert rig.say("TASK_ADDED") is After.VIEW


def test_the_latest_state_counts_when_a_status_is_late() -> None:
    rig = Rig().started()
    rig.say("TASK_ADDED", task_added={"task": task("web.1")})
    late = update("web.1", "TASK_RUNNING") | {"state": "TASK_FINISHED"}
    rig.say("TASK_UPDATED", task_updated=late)
    assert not rig.services


def test_a_status_that_says_nothing_new_marks_nothing() -> None:
    rig = Rig().started()
    rig.say("TASK_ADDED", task_added={"task": task("web.1")})
    before = rig.services["marathon/web"].instances[0]
    rig.inventory.dirty.clear()
    rig.say("TASK_UPDATED", task_updated=update("web.1", "TASK_RUNNING"))
    assert not rig.inventory.dirty
    assert rig.services["marathon/web"].instances[0] is before


def test_an_agent_that_loses_its_connection_makes_its_instances_suspect_once() -> None:
    rig = Rig().started()
    rig.say("TASK_ADDED", task_added={"task": task("web.1")})
    silent = msgspec.convert(agent("S1", active=False), wire.ListedAgent)
    rig.inventory.agent(silent, shown=True)
    rig.inventory.agent(silent, shown=True)
    expected = (ServiceKey("m", "marathon", "web"), "f/web.1", "its agent has lost its connection to the master")
    assert rig.inventory.suspects == [expected]
    assert rig.services["marathon/web"].instances[0].readiness == "ready"


def test_a_bad_task_fails_alone_and_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(Naming(preset="mesosDns"))
    nameless, broken = task("a", name="!!!"), {"name": "broken", "task_id": 7}
    homeless = task("b", name="homeless", on="S0")
    given = state(nameless, broken, homeless, task("web.1"))
    given["get_agents"]["agents"].append({"agent_info": {"id": {"value": "S0"}}, "pid": "nonsense"})
    for _ in range(3):
        rig.view(given)
    assert rig.names() == {"marathon/web": ["web.1"]}
    assert len(caplog.messages) == 3
    assert any("'!!!'" in line for line in caplog.messages)
    assert any("'homeless'" in line for line in caplog.messages)
    assert rig.metrics.total("mesos_problems_total") >= 9


def test_problems_of_many_names_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    for number in range(3000):
        rig.problems.tell("Port", f"task-{number}", "x" * 10_000)
    assert len(caplog.messages) == 1001
    assert max(map(len, caplog.messages)) < 1000
    assert rig.metrics.total("mesos_problems_total") == 3000


# --- views


def test_a_view_sweeps_what_it_does_not_show_and_puts_it_as_no_fact() -> None:
    rig = Rig()
    rig.view(state(task("a"), task("b"), task("c", name="api")))
    rig.inventory.dirty.clear()
    rig.view(state(task("a")))
    assert rig.names() == {"marathon/web": ["a"]}
    assert not rig.inventory.dirty


def test_what_an_event_said_while_a_view_was_read_wins_over_it() -> None:
    rig = Rig()
    rig.view(state(task("killed"), task("ill"), task("old")))

    def between() -> None:
        rig.say("TASK_UPDATED", task_updated=update("killed", "TASK_KILLED"))
        rig.say("TASK_UPDATED", task_updated=update("ill", "TASK_RUNNING", healthy=False))
        rig.say("TASK_ADDED", task_added={"task": task("new")})

    rig.view(state(task("killed"), task("ill"), task("seen")), between)
    found = {instance.id: instance.readiness for instance in rig.services["marathon/web"].instances}
    assert found == {"f/ill": "not-ready", "f/new": "ready", "f/seen": "ready"}


def test_a_view_that_broke_off_sweeps_nothing() -> None:
    rig = Rig()
    rig.view(state(task("a"), task("b")))
    rig.inventory.begin_view()
    view = View(rig.inventory, rig.problems)
    text = dumps({"type": "GET_STATE", "get_state": state(task("a"))})
    for _ in view.feed(text[:-30]):
        pass
    with pytest.raises(AdapterError, match="ended in its middle"):
        view.end("GET_STATE")
    assert rig.names() == {"marathon/web": ["a", "b"]}
    rig.view(state(task("b")))
    assert rig.names() == {"marathon/web": ["b"]}


def test_an_answer_of_another_type_is_no_view() -> None:
    view = View(Rig().inventory, Rig().problems)
    for _ in view.feed(b'{"type": "HEARTBEAT"}'):
        pass
    with pytest.raises(AdapterError, match="should be SUBSCRIBED is another one"):
        view.end("SUBSCRIBED")


def test_a_framework_without_tasks_is_not_forgotten_by_a_view() -> None:
    rig = Rig()
    rig.view(state())
    rig.view(state())
    rig.say("TASK_ADDED", task_added={"task": task("web.1")})
    assert rig.names() == {"marathon/web": ["web.1"]}


def test_an_agent_gone_without_a_word_is_noticed_and_its_tasks_stay_for_a_view() -> None:
    rig = Rig()
    rig.view(state(task("a"), task("b", on="S2"), agents=("S1", "S2")))
    rig.inventory.begin_agents()
    rig.inventory.agent(msgspec.convert(agent("S1"), wire.ListedAgent), shown=True)
    assert rig.inventory.end_agents() == ["S2"]
    assert rig.names() == {"marathon/web": ["a", "b"]}
    rig.inventory.begin_agents()
    rig.inventory.agent(msgspec.convert(agent("S1"), wire.ListedAgent), shown=True)
    assert rig.inventory.end_agents() == []


def test_a_task_that_waits_is_placed_when_only_a_poll_tells_of_its_agent() -> None:
    rig = Rig()
    rig.view(state())
    rig.say("TASK_ADDED", task_added={"task": task("a", on="S2")})
    assert not rig.services
    rig.inventory.begin_agents()
    rig.inventory.agent(msgspec.convert(agent("S2"), wire.ListedAgent), shown=True)
    rig.inventory.end_agents()
    assert rig.names() == {"marathon/web": ["a"]}


def test_an_agent_that_came_while_the_agents_were_listed_is_not_lost() -> None:
    rig = Rig()
    rig.view(state())
    rig.inventory.begin_agents()
    rig.say("AGENT_ADDED", agent_added={"agent": agent("S3")})
    rig.inventory.agent(msgspec.convert(agent("S1"), wire.ListedAgent), shown=True)
    assert rig.inventory.end_agents() == []


# --- against a plain model

IDS = st.sampled_from([f"t{number}" for number in range(6)])
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)
STEPS: st.SearchStrategy[list[tuple[str, str, Any, dict[str, str]]]] = st.lists(
    st.tuples(st.just("add"), IDS, st.sampled_from(["web", "api"]), LABELS)
    | st.tuples(st.just("end"), IDS, st.sampled_from(["TASK_KILLED", "TASK_LOST"]), st.just({}))
    | st.tuples(st.just("ill"), IDS, st.booleans(), st.just({})),
    max_size=40,
)


@given(STEPS)
def test_services_are_what_a_plain_model_says(steps: list[tuple[str, str, Any, dict[str, str]]]) -> None:
    rig = Rig().started()
    model: dict[str, tuple[str, str, dict[str, str]]] = {}
    told: dict[ServiceKey, Service] = {}
    for verb, id, what, labels in steps:
        if verb == "add":
            rig.say("TASK_ADDED", task_added={"task": task(id, name=what, **labels)})
            model[id] = (what, "ready", labels)
        elif verb == "end":
            rig.say("TASK_UPDATED", task_updated=update(id, what))
            model.pop(id, None)
        elif rig.say("TASK_UPDATED", task_updated=update(id, "TASK_RUNNING", healthy=what)) is After.NOTHING:
            model[id] = (model[id][0], "ready" if what else "not-ready", model[id][2])
        else:
            assert id not in model
        for key in rig.inventory.dirty:
            service = rig.inventory.service(key)
            if service is None:
                told.pop(key, None)
            else:
                told[key] = service
        rig.inventory.dirty.clear()
        expected: dict[str, dict[str, tuple[str, dict[str, str]]]] = {}
        for each, (name, readiness, given_labels) in model.items():
            expected.setdefault(name, {})[f"f/{each}"] = (readiness, given_labels)
        assert {key.name: _plain(service.instances) for key, service in told.items()} == expected
        for key, service in told.items():
            every = [set(given_labels.items()) for _, given_labels in expected[key.name].values()]
            assert dict(set.intersection(*every)) == service.labels


def _plain(instances: tuple[Instance, ...]) -> dict[str, tuple[str, dict[str, str]]]:
    return {instance.id: (instance.readiness, dict(instance.labels)) for instance in instances}
