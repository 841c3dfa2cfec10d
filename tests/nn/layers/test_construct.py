"""Building a class with the options that it names."""

import pytest
import torch

from mts_fusion.nn.layers import check_heads, construct


def test_options_that_a_constructor_does_not_name_are_left_out():
    built = construct(torch.nn.Linear, 3, 2, options={"bias": False, "n_heads": 4})
    assert built.bias is None


def test_other_keywords_are_never_left_out():
    with pytest.raises(TypeError, match="n_heads"):
        construct(torch.nn.Linear, 3, 2, options={}, n_heads=4)


def test_a_keyword_overrides_an_option():
    assert construct(torch.nn.Linear, 3, 2, options={"bias": False}, bias=True).bias is not None


@pytest.mark.parametrize(("width", "n_heads"), [(8, 3), (8, 0), (4, 8)])
def test_heads_have_to_divide_the_width(width, n_heads):
    message = f"d_time is a multiple of n_heads, got d_time={width} and n_heads={n_heads}"
    with pytest.raises(ValueError, match=message):
        check_heads(width, n_heads, name="d_time")
