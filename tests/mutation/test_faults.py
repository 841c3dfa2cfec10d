"""Each fault can still be put where it belongs; ``run.py`` says whether the tests notice it."""

import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FAULTS = runpy.run_path(str(HERE / "faults.py"))["FAULTS"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_stands_for_one_place_of_the_code(fault):
    source = (HERE.parents[1] / "mts_fusion" / fault.file).read_text()

    assert source.count(fault.old) == 1
    assert fault.new != fault.old
    assert all((HERE.parent / name).exists() for name in fault.tests.split())
