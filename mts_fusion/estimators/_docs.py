"""The description of each parameter and attribute that all methods share, once."""

from __future__ import annotations

__all__ = ["CLASSIFIER_ATTRIBUTES", "REGRESSOR_ATTRIBUTES", "TRAINING_PARAMETERS"]

TRAINING_PARAMETERS = """optimizer : {"adamw", "adam", "sgd"} or callable, default="adamw"
        By name, or a class of ``torch.optim``.
    lr : float, default=2e-3
        Highest learning rate. It rises linearly over the first twentieth of the steps, then falls
        to 0 as half a cosine.
    weight_decay : float, default=0.05
        Weight decay of the optimizer. 0 is none; more helps with few samples.
    batch_size : int or "auto", default="auto"
        Samples a step. It bounds the memory, also in prediction, where batches are up to four times
        as large. ``"auto"`` is 32 below 1,500 training samples and 128 from there.
    max_epochs : int or "auto", default="auto"
        Maximum number of passes over the training samples. ``"auto"`` is 12, or as many as make 600
        steps (300 for TRACE) if that is more.
    patience : int or None, default=None
        Training stops after that many epochs without a lower validation loss; with None it never
        stops early. The weights of the epoch with the lowest validation loss are kept, except by
        ``MaestroClassifier`` with ``patience=None`` and calibration: it keeps those of the last
        epoch, whose confidence the temperature corrects.
    validation_fraction : float or "auto", default="auto"
        Fraction of the samples that is held out to choose the epoch and the temperature. Without
        ``groups``, up to three runs of consecutive samples of each class are held out, since
        neighbouring samples are alike (windows of one recording may overlap); with ``groups`` in
        ``fit``, whole groups, but none that alone has a class or a modality, and at most so many
        that half of the samples wanted for training stay; otherwise nothing is held out, with a
        warning. ``"auto"`` is 0.1 from 500 samples on or with ``calibration="temperature"`` or
        ``patience``, and 0 otherwise. Nothing is held out where that would be fewer than 10
        samples, or where a class has a single sample.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss. Regressors accept None only.
    label_smoothing : float or "auto", default="auto" (0.0 for MAESTRO)
        Fraction of each target that is spread evenly over all classes. ``"auto"`` is 0.05 from 500
        samples on if a temperature is learnt, which corrects its effect on the probabilities, and 0
        otherwise.
        Ignored by regressors.
    calibration : {"auto", "temperature"} or None, default="auto"
        ``"temperature"`` divides the logits by a temperature learnt on the held-out samples, as
        they are and with simulated sensor loss. There are two, for samples with all modalities and
        with none; in between the temperature is interpolated. It raises an error where nothing is
        held out; ``"auto"`` then leaves the probabilities as they are. Without ``groups``,
        ``"auto"`` also penalises temperatures below 1. None never calibrates. Ignored by
        regressors.
    n_estimators : int or "auto", default="auto"
        Number of networks, trained from different initial weights, whose predictions are averaged.
        ``"auto"`` is 3 for Maestro and 1 for the other methods.
    callbacks : list of skorch.callbacks.Callback or None, default=None
        Additional callbacks for the training loop. An ``LRScheduler`` takes the place of the
        schedule of ``lr``. ``EpochScoring`` scores predictions of the type of y, before
        calibration; ``history_`` has its scores. One of your own ends the training with
        ``net.stop_training()``. All read the averaged weights that were validated, where samples
        are held out; those that ``EarlyStopping(load_best=True)`` restores stay.
    device : str, default="auto"
        A device of torch; ``"auto"`` is the GPU if torch finds one, else the CPU.
    precision : {"float32", "bf16", "fp16"}, default="float32"
        Precision of the matrix products in training and prediction.
    warm_start : bool, default=False
        Whether a further ``fit`` continues from the weights of the previous one, for ``max_epochs``
        more epochs and with the parameters set now; with a larger ``n_estimators`` networks are
        added. What was fitted to X besides the networks stays (scaling, imputer, fixed features).
    net_params : dict or None, default=None
        Additional parameters of the training loop: ``gradient_clip``, ``n_threads``, ``compile``,
        ``verbose``, ``torch_load_kwargs`` and ``optimizer__*`` of the optimizer.
    random_state : int, RandomState or None, default=None
        Seed of all random numbers. The same int gives the same bits, in threads and processes too.
    verbose : int, default=0
        Whether to show progress bars: features, imputer, epochs of each network; predictions that
        take seconds."""

REGRESSOR_ATTRIBUTES = """schema_ : Schema
        The modalities seen in ``fit``.
    nets_ : list of PanelNet
        The trained networks.
    history_ : list of list of dict
        Losses and seconds, by network and epoch.
    n_training_ : int
        Number of samples trained on, without those held out.
    n_iter_ : int
        Number of epochs run.
    n_features_in_ : int
        Columns of a 2-D X, channels of a 3-D X, otherwise the number of modalities."""

CLASSIFIER_ATTRIBUTES = f"""classes_ : array of shape (n_classes,)
        The sorted classes; for multilabel targets the column numbers.
    temperature_ : array of shape (2,)
        What the logits are divided by, with all modalities and with none; in between it is
        interpolated on a log scale, by the fraction of missing modalities. Above 1 the networks
        were overconfident, below 1 underconfident. Ones without calibration.
    {REGRESSOR_ATTRIBUTES}"""
