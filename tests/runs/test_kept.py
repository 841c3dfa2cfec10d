"""What is kept while one panel is predicted again and again."""

import numpy as np
import pytest

from mts_fusion.runs import _kept, content_key, keeping, kept_results


def test_results_stay_for_the_time_of_a_block():
    assert kept_results() is None
    with keeping():
        kept, result = kept_results(), np.zeros(3)
        kept.put("owner", "key", result)

        assert kept.get("owner", "key") is result
        assert kept.get("owner", "other") is None
        assert kept.get("other", "key") is None
        assert kept.holds(result)
        assert not kept.holds(result.copy())
    assert kept_results() is None


def test_no_more_is_kept_than_the_limit(monkeypatch):
    monkeypatch.setattr(_kept, "_MOST_BYTES", 100)
    first, second, third = np.zeros(10), np.zeros(10), np.zeros(2)
    with keeping():
        kept = kept_results()
        for name, result in (("first", first), ("second", second), ("third", third)):
            kept.put("owner", name, result)

        assert kept.holds(first)
        assert not kept.holds(second)
        assert kept.holds(third)


@pytest.mark.parametrize(
    "other",
    [
        (np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([True])),
        (np.array([1.0, 2.0, 3.0, 4.0]), np.array([True])),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([False])),
        (np.array([[1.0, 2.0], [3.0, 4.0]]).astype("f4"), np.array([True])),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), None),
        (np.array([[1.0, 2.0], [3.0, 4.0]]).view("i8"), np.array([True])),
    ],
)
def test_a_key_is_that_of_the_content(other):
    key = content_key(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([True]))

    assert content_key(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([True])) == key
    assert content_key(*other) != key
