"""A list whose walk lets others have a turn."""

import threading

from tenant_security.logdriver import breathing
from tenant_security.logdriver.breathing import Breathing


def test_it_is_a_list(monkeypatch):
    pauses = []
    monkeypatch.setattr(breathing.time, "sleep", pauses.append)
    for size in (0, 1, 19, 20, 21, 1_000):
        pauses.clear()
        made = Breathing(range(size))
        assert list(iter(made)) == list(range(size))
        assert len(pauses) == size // 20
        assert len(made) == size
        assert made[:2] == list(range(size))[:2]
        assert all(0 < each <= 0.001 for each in pauses)


def test_whoever_waits_has_its_turn_in_the_middle_of_a_walk():
    begun, seen = threading.Event(), threading.Event()

    def other():
        begun.wait()
        seen.set()

    thread = threading.Thread(target=other)
    thread.start()
    in_between = False
    for number in Breathing(range(200_000)):
        if number == 100:
            begun.set()
        if seen.is_set():
            in_between = True
            break
    thread.join()
    assert in_between
