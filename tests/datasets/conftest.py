"""Where the real files lie, for the tests marked slow."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """Folder with the publishers' files, or skip."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    home = Path(os.environ.get("MTS_FUSION_DATA", beside))
    if not home.is_dir():
        pytest.skip(f"no real data: {home} is no folder; set MTS_FUSION_DATA to one")

    def ask(fetch, **kwargs):
        try:
            return fetch(data_home=home, download=False, **kwargs)
        except FileNotFoundError as error:
            pytest.skip(str(error))

    return ask
