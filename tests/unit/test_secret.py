"""A secret is seen where it is revealed and nowhere else."""

import copy
import json
import logging
import pickle
import traceback

import msgspec
import pytest

from tenant_security.secret import Secret

VALUE = "hunter2-hunter2"


def test_it_is_revealed_on_demand():
    assert Secret(VALUE).reveal() is VALUE


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(VALUE)),
        str(Secret(VALUE)),
        f"{Secret(VALUE)}",
        f"{Secret(VALUE):>40}",
        f"{Secret(VALUE)!r}",
        "%s" % Secret(VALUE),  # noqa: UP031 - as log lines are formatted
        repr([Secret(VALUE)]),
        repr({"key": Secret(VALUE)}),
        logging.LogRecord("n", 20, "p", 1, "key %s", (Secret(VALUE),), None).getMessage(),
    ],
)
def test_it_is_never_printed(shown):
    assert VALUE not in shown
    assert "<secret>" in shown


@pytest.mark.parametrize("spread", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_be_pickled_or_copied(spread):
    with pytest.raises(TypeError, match="reveal it"):
        spread(Secret(VALUE))


@pytest.mark.parametrize("write", [json.dumps, msgspec.json.encode, msgspec.msgpack.encode])
def test_it_cannot_be_written_by_accident(write):
    with pytest.raises(TypeError):
        write({"key": Secret(VALUE)})


def test_it_has_no_equality_by_value():
    assert Secret(VALUE) != Secret(VALUE)


def test_it_has_no_order_and_no_attributes_to_look_into():
    with pytest.raises(TypeError):
        assert Secret(VALUE) < Secret(VALUE)
    assert not hasattr(Secret(VALUE), "__dict__")


def test_a_traceback_with_locals_does_not_show_it():
    def fail():
        key = Secret(VALUE)
        raise ValueError(key)

    with pytest.raises(ValueError, match="<secret>") as caught:
        fail()
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert VALUE not in told.replace(f"VALUE = '{VALUE}'", "")
