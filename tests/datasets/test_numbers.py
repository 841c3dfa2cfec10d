import time

import numpy as np
import pytest

from mts_fusion.datasets._numbers import numbers


@pytest.mark.parametrize("text", [b"1,2\n3,4\n", b"1,2\r\n3,4", b"1 2\n\n3 4\n\n"])
def test_numbers_are_read_whatever_ends_a_line(text):
    np.testing.assert_array_equal(numbers(text, 2, "a"), [[1, 2], [3, 4]])


def test_empty_fields_are_nan():
    np.testing.assert_array_equal(
        numbers(b"1,,3\n,5,\n", 3, "a"), [[1, np.nan, 3], [np.nan, 5, np.nan]]
    )


@pytest.mark.parametrize("text", [b"1,2\n3,x\n", b"1,2\n3\n", b"1,2,3\n4,5,6\n", b""])
def test_what_is_no_table_of_numbers_is_named(text):
    with pytest.raises(ValueError, match=r"a.csv has .*; 2 numbers a row are wanted"):
        numbers(text, 2, "a.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1,2\n\n3,x\n", "a.csv, line 7: 2 numbers are wanted, got 'x'"),
        (b"1,2\n3\n4,5,6\n", "a.csv, line 6: 2 numbers are wanted, got 1"),
        (b"1 2\n3 4\n5", "a.csv, line 7: 2 numbers are wanted, got 1"),
    ],
)
def test_the_damaged_line_is_named_where_lines_are_counted(text, message):
    with pytest.raises(ValueError, match=message):
        numbers(text, 2, "a.csv", first_line=5)


@pytest.mark.parametrize("blanks", [b" ", b"\n", b"\r\n", b"\t", b" \n"])
def test_blanks_cost_no_time(blanks):
    text = b"1 2\n" + blanks * 200_000 + b"\n3 4"
    start = time.perf_counter()
    np.testing.assert_array_equal(numbers(text, 2, "a.csv"), [[1, 2], [3, 4]])
    assert time.perf_counter() - start < 5  # a search that goes back takes minutes
