"""The page about clusters, on two processes of this machine."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed")

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_page_about_clusters_gives_the_answers_of_one_process(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parents[1]))
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.S | re.M):
        exec(compile(block, str(PAGE), "exec"), names)

    alone = names["GridSearchCV"](names["search"].estimator, names["search"].param_grid, cv=3)
    alone.fit(names["X"], names["y"])
    np.testing.assert_array_equal(
        names["search"].cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )
    around, read = names["around"], names["search"].best_params_
    assert around.best_estimator_.penalty == read["penalty"]
    here = names["GridSearchCV"](around.estimator, around.param_grid, cv=3)
    np.testing.assert_array_equal(
        here.fit(names["X"], names["y"]).cv_results_["mean_test_score"],
        around.cv_results_["mean_test_score"],
    )
    p, q = (names[model].predict_proba(names["X"]) for model in ("model", "alone"))
    np.testing.assert_allclose(p, q, atol=1e-5)
    assert p.std() > 0.1
    blank = names["model"].blank()  # which one worker hands to both tasks
    parts = [names["learn"](blank, names["X"][rows], names["y"][rows]) for rows in names["pieces"]]
    assert [part.models_.n_rows for part in parts] == [80, 80]
    assert names["together"].shape == (240, 3)
    one = names["train"](1, names["X"], names["y"]).predict_proba(names["X"])
    np.testing.assert_array_equal(names["networks"][1].predict_proba(names["X"]), one)
