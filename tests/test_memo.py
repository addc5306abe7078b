"""Equal arguments, equal objects."""

import numpy as np
import pytest

from al_jax.memo import KEPT, memoised


@memoised
def thing(a, b=2, *rest, **named):
    """Something new in every call."""
    return [a, b, rest, named]


def test_equal_arguments_however_written_give_the_same_object():
    assert thing(1) is thing(a=1, b=2)
    assert thing([1, 2]) is thing([1, 2])
    assert thing({"x": 1}) is thing({"x": 1})


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0, False), ([1], (1,)), ([1], [True])])
def test_equal_numbers_of_different_types_differ(one, other):
    assert thing(one) is not thing(other)


def test_what_has_no_hash_is_made_anew():
    array = np.zeros(2)
    assert thing(array) is not thing(array)


def test_wrong_arguments_are_the_functions_own_error():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        thing()


def test_an_error_is_not_remembered():
    calls = []

    @memoised
    def fails(a):
        calls.append(a)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            fails(1)
    assert calls == [1, 1]


def test_only_the_last_are_kept():
    first = thing(-1)
    for a in range(KEPT):
        thing(a)
    assert thing(-1) is not first
