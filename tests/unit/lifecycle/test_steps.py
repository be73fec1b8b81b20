"""Keys and the runner. Steps here are pure Python: what they stand for is tested with real guests elsewhere."""

from __future__ import annotations

import random
import threading
import time

import pytest

from builder.errors import Interrupted, LabError
from builder.lifecycle.steps import Gate, Runner, Step, digest, in_order, with_keys


def step(name: str, *needs: str, version: int = 1, **inputs: object) -> Step:
    return Step(id=name, name=name, version=version, kind="live", node="n", needs=needs, inputs=inputs)


def keys(*steps: Step) -> dict[str, str]:
    return {s.id: s.key for s in with_keys(steps)}


def test_a_key_depends_on_name_version_inputs_and_what_it_stands_on() -> None:
    base = keys(step("a", size=1), step("b", "a"))
    assert keys(step("a", size=2), step("b", "a"))["a"] != base["a"]
    assert keys(step("a", size=2), step("b", "a"))["b"] != base["b"]
    assert keys(step("a", size=1, version=2), step("b", "a"))["b"] != base["b"]
    assert keys(step("a", size=1), step("b", "a")) == base


def test_a_key_does_not_depend_on_the_order_of_inputs_or_on_the_weight() -> None:
    one = Step(id="a", name="a", version=1, kind="live", inputs={"x": 1, "y": [2]}, weight=1)
    two = Step(id="a", name="a", version=1, kind="live", inputs={"y": [2], "x": 1}, weight=99)
    assert keys(one) == keys(two)


def test_the_digest_is_that_of_canonical_json() -> None:
    # sha256 of {"a":[1,"é"],"b":null}, by sha256sum
    assert digest({"b": None, "a": [1, "é"]}) == "1e02bc81a26af2f027329541e97eef36f3290bedc6dfe043dbe66b057ecb13ba"


def test_order_puts_needs_first_for_random_graphs() -> None:
    chance = random.Random(7)
    for _ in range(50):
        names = [f"s{i}" for i in range(30)]
        steps = [step(n, *chance.sample(names[:i], min(i, chance.randint(0, 3)))) for i, n in enumerate(names)]
        chance.shuffle(steps)
        seen: set[str] = set()
        for one in in_order(steps):
            assert set(one.needs) <= seen
            seen.add(one.id)
        assert len(seen) == 30


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([step("a", "b"), step("b", "a")], id="circle"),
        pytest.param([step("a", "a")], id="itself"),
        pytest.param([step("a", "nowhere")], id="unknown"),
        pytest.param([step("a"), step("a")], id="twice"),
    ],
)
def test_impossible_orders_are_refused(steps: list[Step]) -> None:
    with pytest.raises(LabError):
        in_order(steps)


def test_independent_steps_run_at_once_and_needs_are_waited_for() -> None:
    both = threading.Barrier(2, timeout=5)
    done: list[str] = []

    def work(one: Step, _stop: threading.Event) -> None:
        if one.id in ("a", "b"):
            both.wait()
        done.append(one.id)

    Runner(work, jobs=2).run([step("c", "a", "b"), step("a"), step("b")], threading.Event())
    assert sorted(done[:2]) == ["a", "b"]
    assert done[2] == "c"


def test_a_failure_stops_the_rest_and_is_raised() -> None:
    done: list[str] = []

    def work(one: Step, stop: threading.Event) -> None:
        if one.id == "bad":
            raise LabError("broken on purpose")
        assert stop.wait(5), "the other step was not told to stop"
        raise Interrupted("told to stop")

    stop = threading.Event()
    with pytest.raises(LabError, match="broken on purpose"):
        Runner(work, jobs=2).run([step("slow"), step("bad"), step("after", "bad")], stop)
    assert not done
    assert stop.is_set()


def test_stop_from_outside_ends_the_run_soon() -> None:
    stop = threading.Event()
    started = threading.Event()

    def work(_one: Step, stop: threading.Event) -> None:
        started.set()
        stop.wait(10)

    def stop_once_started() -> None:
        started.wait(5)
        stop.set()

    threading.Thread(target=stop_once_started).start()
    before = time.monotonic()
    with pytest.raises(Interrupted):
        Runner(work, jobs=1).run([step("a"), step("b", "a")], stop)
    assert time.monotonic() - before < 5


def test_the_gate_bounds_how_many_of_a_kind_run() -> None:
    inside, most = 0, 0
    lock = threading.Lock()

    def work(_one: Step, _stop: threading.Event) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with lock:
            inside -= 1

    boots = [Step(id=f"n{i}/boot", name="boot", version=1, kind="live", node=f"n{i}") for i in range(12)]
    Runner(work, jobs=8, gate=Gate({"boot": 3})).run(boots, threading.Event())
    assert 1 <= most <= 3
