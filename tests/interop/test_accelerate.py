"""One network in several processes: ``examples/train_in_processes.py``."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mts_fusion import MaestroClassifier, load, make_panel_classification

pytest.importorskip("accelerate")

ROOT = Path(__file__).parents[2]


def _train(n_processes, path):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n_processes)]
    done = subprocess.run(
        [sys.executable, *launch, ROOT / "examples" / "train_in_processes.py", path],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    return done.stdout, load(path)


@pytest.mark.slow
def test_two_processes_train_one_network_and_one_trains_it_as_without_them(tmp_path):
    X, y = make_panel_classification(240, noise=2.0, random_state=0)
    printed, one = _train(1, tmp_path / "one.mts")
    alone = MaestroClassifier(
        n_estimators=1, d_model=16, batch_size=32, max_epochs=8, random_state=0
    ).fit(X[:160], y[:160])
    assert printed.startswith("1 processes, 0 apart")
    np.testing.assert_array_equal(one.predict_proba(X), alone.predict_proba(X))

    printed, two = _train(2, tmp_path / "two.mts")
    assert printed.startswith("2 processes, 0 apart")
    assert np.abs(two.predict_proba(X) - one.predict_proba(X)).max() > 0.01
    assert two.score(X[160:], y[160:]) > 0.7
    again = pickle.loads(pickle.dumps(two))
    np.testing.assert_array_equal(again.predict_proba(X), two.predict_proba(X))
