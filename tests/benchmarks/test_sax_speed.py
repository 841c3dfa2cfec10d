"""The tokenizer is faster than loops over samples and segments."""

import pytest

from mts_fusion.benchmarks._sax import main


@pytest.mark.slow
def test_tokenizer_is_a_hundred_times_faster_than_a_loop_over_channels():
    rows = main(quick=False)  # also raises where the loops give other symbols

    faster = {row["samples"]: row["times_faster"] for row in rows if row["method"] == "loop"}
    assert faster[128] >= 100
