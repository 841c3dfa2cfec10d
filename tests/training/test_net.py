"""PanelNet and its callbacks, around the smallest module there is."""

import pickle
import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback
from torch import nn

from mts_fusion.nn.layers import Dropout, ModalityDropout
from mts_fusion.nn.networks import ModuleOutput
from mts_fusion.panel import Panel
from mts_fusion.training import (
    BestWeights,
    CosineSchedule,
    ModalityCurriculum,
    Multiclass,
    PanelDataset,
    PanelNet,
    StopOnNaN,
    WeightAverage,
    pick_device,
    seeded,
)
from mts_fusion.training._runtime import isolated


class Line(nn.Module):
    """One linear layer on the mean over time, with all that a module may have."""

    def __init__(self):
        super().__init__()
        self.modality_dropout = ModalityDropout(0.5)
        self.drop = Dropout(0.5)
        self.out = nn.Linear(2, 2)

    def forward(self, values, observed, times=None, *, record=False):
        mean = self.drop(values[0].mean(1))
        prediction = self.out(mean)
        return ModuleOutput(prediction, prediction.new_zeros(()), {"mean": mean} if record else {})


class Spy(Callback):
    """Notes what it sees, and calls ``act(net)`` at the end of each epoch."""

    def __init__(self, act=lambda net: None):
        self.act = act

    def on_train_begin(self, net, **kwargs):
        self.rates, self.drops = [], []

    def on_epoch_begin(self, net, **kwargs):
        self.drops.append(round(float(net.module_.modality_dropout.p), 3))

    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            self.rates.append(net.optimizer_.param_groups[0]["lr"])

    def on_epoch_end(self, net, **kwargs):
        self.act(net)


def _dataset(n=32, value=None):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2, 4)) if value is None else np.full((n, 2, 4), value)
    return PanelDataset(Panel({"a": X}), (X.mean((1, 2)) > 0).astype(np.int64))


def seeded_line():
    with seeded(0):
        return Line()


def _net(*callbacks, **parameters):
    module = seeded_line()
    defaults = {"max_epochs": 3, "batch_size": 8, "lr": 0.1, "optimizer": torch.optim.Adam}
    return PanelNet(
        module,
        task=Multiclass(np.arange(2)),
        callbacks=list(callbacks),
        callbacks__print_log=None,
        verbose=0,
        **{**defaults, **parameters},
    ).initialize()


def _weights(net):
    return {key: value.clone() for key, value in net.module_.state_dict().items()}


def _same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


# Seeds


def test_seeded_leaves_the_global_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    with seeded(0):
        torch.rand(100)

    assert_array_equal(torch.rand(3), expected)


def test_every_kind_of_draw_is_seeded():
    def draw():
        part = torch.empty(3, 3)
        with seeded(0):
            return [
                torch.rand(3),
                torch.randn(3),
                torch.randperm(9).float(),
                torch.randint(9, (3,)).float(),
                torch.randint(10**6, 10**9, (3,)).float(),
                torch.normal(torch.zeros(3), 1.0),
                nn.init.trunc_normal_(part.clone()),
                nn.init.orthogonal_(part.clone()),
                nn.init.kaiming_uniform_(part.clone()),
                nn.Embedding(3, 2).weight.detach(),
                nn.LSTM(2, 3).weight_hh_l0.detach(),
            ]

    torch.manual_seed(1)
    first = draw()
    torch.manual_seed(2)

    for a, b in zip(first, draw(), strict=True):
        assert torch.equal(a, b)


def test_training_leaves_the_global_state_alone():
    state = torch.get_rng_state()

    _net().train(_dataset(), None)

    assert_array_equal(torch.get_rng_state(), state)


def test_same_seed_same_weights():
    first, second = (_net(seed=1).train(_dataset(), None) for _ in range(2))
    other = _net(seed=2).train(_dataset(), None)

    assert _same(_weights(first), _weights(second))
    assert not _same(_weights(first), _weights(other))


def test_another_thread_that_draws_changes_no_bit():
    expected = _weights(_net().train(_dataset(), None))
    stop = threading.Event()

    def draw():
        while not stop.wait(0.001):
            torch.rand(10)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        weights = _weights(_net().train(_dataset(), None))
    finally:
        stop.set()
        thread.join()

    assert _same(weights, expected)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_training_and_prediction_run_on_one_thread_and_put_the_number_back(two_threads):
    n_threads = []
    spy = Spy(lambda net: n_threads.append(torch.get_num_threads()))

    net = _net(spy).train(_dataset(), None)
    net.module_.register_forward_hook(lambda *_: n_threads.append(torch.get_num_threads()))
    net.predict_raw([_dataset()])

    assert set(n_threads) == {1}
    assert torch.get_num_threads() == 2


def test_more_threads_are_taken_where_asked_for(two_threads):
    n_threads = []
    spy = Spy(lambda net: n_threads.append(torch.get_num_threads()))

    _net(spy, n_threads=None).train(_dataset(), None)

    assert set(n_threads) == {2}


def test_the_last_to_leave_puts_the_number_of_threads_back(two_threads):
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with isolated(1):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait()
    with isolated(1):
        leave.set()
        thread.join()
        assert torch.get_num_threads() == 1

    assert torch.get_num_threads() == 2


# The state after training


def test_training_ends_in_evaluation_mode_without_generators():
    net = _net().train(_dataset(), _dataset(16))

    assert not net.module_.training
    assert net.module_.drop.generator is None
    assert net.train_split is None


def test_weights_follow_the_data():
    net = _net(max_epochs=30).train(_dataset(), None)

    accuracy = (net.predict_raw([_dataset()]).argmax(1) == _dataset().y.numpy()).mean()

    assert accuracy > 0.9


def test_a_sample_has_the_same_prediction_in_any_batch():
    net = _net(batch_size=10).train(_dataset(), None)
    dataset, order = _dataset(45), np.random.default_rng(0).permutation(45)

    together = net.predict_raw([dataset])

    assert_allclose(net.predict_raw([dataset.take(order)]), together[order], rtol=0, atol=1e-6)
    for rows in ([0], [20], [44], [3, 7], [5, 6, 8], list(range(17))):
        some = net.predict_raw([dataset.take(np.array(rows))])
        assert_allclose(some, together[rows], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("n", "computed"), [(1, 4), (3, 4), (4, 4), (6, 8), (16, 16), (17, 20)])
def test_few_samples_are_not_filled_up_to_sixteen(n, computed):
    net = _net(batch_size=32).train(_dataset(), None)

    sizes = [(len(inputs), real) for inputs, real in net.batches([_dataset(n)])]

    assert sizes == [(computed, n)]


def test_record_has_a_row_a_sample():
    record = _net(batch_size=10).predict_record([_dataset(25)])

    assert record["mean"].shape == (25, 2)


def test_dropout_passes_differ_and_repeat_by_their_seed():
    net = _net().train(_dataset(), None)

    first, second = (net.predict_dropout([_dataset(5)], 3, seed=0) for _ in range(2))

    assert first.shape == (3, 5, 2)
    assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])
    assert_array_equal(net.predict_raw([_dataset(5)]), net.predict_raw([_dataset(5)]))


def test_a_trained_net_pickles():
    net = _net().train(_dataset(), None)

    again = pickle.loads(pickle.dumps(net))

    assert_array_equal(again.predict_raw([_dataset()]), net.predict_raw([_dataset()]))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_precision_keeps_float32_weights_and_predictions(precision):
    net = _net(precision=precision).train(_dataset(), _dataset(16))

    assert net.module_.out.weight.dtype == torch.float32
    assert net.predict_raw([_dataset()]).dtype == np.float32
    assert np.isfinite(net.predict_raw([_dataset()])).all()


def test_gradients_are_clipped():
    norms = []

    class Norms(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            norms.append(sum(float(p.grad.square().sum()) for _, p in named_parameters) ** 0.5)

    _net(Norms(), gradient_clip=0.01).train(_dataset(), None)

    assert max(norms) <= 0.0101


def test_losses_have_a_row_an_epoch():
    losses = _net().train(_dataset(), _dataset(16)).losses()

    assert [row["epoch"] for row in losses] == [1, 2, 3]
    assert set(losses[0]) == {"epoch", "train_loss", "valid_loss", "dur"}


def test_device_names_pass_through():
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in ("cpu", "cuda")


# Schedules


def test_learning_rate_rises_then_falls_to_nothing():
    spy = Spy()

    _net(CosineSchedule(12, warmup_fraction=0.25), spy, batch_size=8).train(_dataset(), None)

    assert len(spy.rates) == 12
    assert np.argmax(spy.rates) == 3
    assert spy.rates[3] == pytest.approx(0.1)
    assert (np.diff(spy.rates[3:]) < 0).all()
    assert spy.rates[-1] < 0.005


def test_learning_rate_falls_from_the_full_one_again_in_a_second_training():
    spy = Spy()
    net = _net(CosineSchedule(12, warmup_fraction=0.25), spy)

    net.train(_dataset(), None)
    first = spy.rates
    net.train(_dataset(), None)

    assert spy.rates == pytest.approx(first)


def test_modality_dropout_rises_and_is_put_back():
    spy = Spy()

    net = _net(ModalityCurriculum(1, 3), spy, max_epochs=4).train(_dataset(), None)

    assert spy.drops[0] == 0.0
    assert spy.drops == sorted(spy.drops)
    assert spy.drops[-1] == 0.5
    assert float(net.module_.modality_dropout.p) == 0.5


# The best weights


def test_weights_of_the_best_epoch_are_restored():
    kept = []
    wrong = _dataset(16)
    wrong.y = 1 - wrong.y  # the better the training, the worse the validation
    spy = Spy(lambda net: kept.append(_weights(net)))
    net = _net(BestWeights(None), spy, max_epochs=4).train(_dataset(), wrong)

    best = int(np.argmin([row["valid_loss"] for row in net.losses()]))

    assert len(kept) == 4
    assert best < 3
    assert _same(_weights(net), kept[best])


def test_patience_ends_training():
    wrong = _dataset(16)
    wrong.y = 1 - wrong.y

    net = _net(BestWeights(2), max_epochs=50).train(_dataset(), wrong)

    assert len(net.history) < 50
    assert not net.interrupted


@pytest.mark.parametrize("n_held_out", [0, 16])
def test_the_average_of_the_weights_is_what_is_left(n_held_out):
    weights = []

    class Steps(Callback):
        def on_batch_end(self, net, training=False, **kwargs):
            if training:
                weights.append(net.module_.out.weight.detach().clone())

    held_out = _dataset(n_held_out) if n_held_out else None
    net = _net(Steps(), WeightAverage(decay=0.5), max_epochs=1).train(_dataset(), held_out)

    average = seeded_line().out.weight.detach()
    for step, weight in enumerate(weights, start=1):
        average = torch.lerp(average, weight, 1 - min(0.5, step / (step + 10)))
    torch.testing.assert_close(net.module_.out.weight.detach(), average)


def test_validation_sees_the_average_and_training_goes_on_from_the_live_weights():
    kept = []
    spy = Spy(lambda net: kept.append(_weights(net)))

    averaged = _net(spy, WeightAverage()).train(_dataset(), _dataset(16))
    plain = _net().train(_dataset(), _dataset(16))

    column = [[row["train_loss"] for row in net.losses()] for net in (averaged, plain)]
    assert column[0] == column[1]
    assert averaged.losses()[0]["valid_loss"] != plain.losses()[0]["valid_loss"]


# What goes wrong


def _interrupt_in(epoch):
    def act(net):
        if len(net.history) == epoch:
            raise KeyboardInterrupt

    return Spy(act)


def test_an_interrupted_net_can_be_asked():
    net = _net(_interrupt_in(2), max_epochs=10).train(_dataset(), None)

    assert net.interrupted
    assert len(net.history) == 2
    assert not net.module_.training
    assert np.isfinite(net.predict_raw([_dataset()])).all()


def test_an_interrupted_net_has_its_best_weights():
    kept = []
    wrong = _dataset(16)
    wrong.y = 1 - wrong.y
    spy = Spy(lambda net: kept.append(_weights(net)))

    net = _net(BestWeights(None), spy, _interrupt_in(4), max_epochs=10).train(_dataset(), wrong)

    best = int(np.argmin([row["valid_loss"] for row in net.losses()]))
    assert _same(_weights(net), kept[best])


def _spoil_in(epoch):
    def act(net):
        if len(net.history) == epoch:
            with torch.no_grad():
                net.module_.out.weight.fill_(float("nan"))

    return Spy(act)


def test_nan_stops_and_keeps_the_weights_before():
    kept = []
    spy = Spy(lambda net: kept.append(_weights(net)))
    net = _net(spy, _spoil_in(2), StopOnNaN(), max_epochs=10)

    with pytest.warns(UserWarning, match=r"in epoch 2; training stopped and the weights of epoch"):
        net.train(_dataset(), None)

    assert len(net.history) == 2
    assert not net.interrupted
    assert _same(_weights(net), kept[0])


def test_the_average_does_not_bring_nan_back():
    net = _net(_spoil_in(2), StopOnNaN(), WeightAverage(), max_epochs=10)

    with pytest.warns(UserWarning, match="in epoch 2"):
        net.train(_dataset(), None)

    assert all(torch.isfinite(p).all() for p in net.module_.parameters())


def test_a_nan_loss_is_named_with_its_epoch():
    dataset = _dataset(value=1e30)  # finite, but its square is not
    net = _net(StopOnNaN(), lr=1e30, optimizer=torch.optim.SGD, max_epochs=10)
    message = (
        r"The training loss became (nan|inf) in epoch 1; training stopped and the weights of epoch "
        r"0 are kept\. Lower lr, or set precision='float32'\."
    )

    with pytest.warns(UserWarning, match=message):
        net.train(dataset, None)

    assert all(torch.isfinite(p).all() for p in net.module_.parameters())


@pytest.mark.gpu
def test_a_net_trained_on_an_accelerator_loads_on_a_cpu(monkeypatch):
    net = _net(device="cuda").train(_dataset(), None)
    expected = net.predict_raw([_dataset()])
    data = pickle.dumps(net)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    again = pickle.loads(data)

    assert next(again.module_.parameters()).device.type == "cpu"
    np.testing.assert_allclose(again.predict_raw([_dataset()]), expected, atol=1e-5)
