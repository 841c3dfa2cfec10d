"""The text of each parameter that all methods share, once."""

from __future__ import annotations

__all__ = ["CLASSIFIER_ATTRIBUTES", "REGRESSOR_ATTRIBUTES", "TRAINING_PARAMETERS"]

TRAINING_PARAMETERS = """optimizer : {"adamw", "adam", "sgd"} or callable, default="adamw"
        By name, or a class of ``torch.optim``.
    lr : float, default=2e-3
        Highest learning rate; it rises for a twentieth of the steps and falls as half a cosine.
    weight_decay : float, default=0.05
        Pull of the weights towards 0. 0 is none; more helps where samples are few.
    batch_size : int or "auto", default="auto"
        Samples a step; bounds the memory, also of prediction, which takes up to four times as many
        at a time. ``"auto"``: 32 below 1,500 training samples, 128 from there.
    max_epochs : int or "auto", default="auto"
        Passes over the training samples at most. ``"auto"``: 12, and more where samples are so few
        that these were fewer than 600 steps (300 for TRACE).
    patience : int or None, default=None
        Epochs without a lower validation loss after which training stops; None never does. The
        weights of the best epoch are kept; with None, ``MaestroClassifier`` keeps those of the end
        where a temperature repairs how sure they are.
    validation_fraction : float or "auto", default="auto"
        Share of the samples held out to choose the epoch and the temperature: of each class three
        runs of samples that follow one another (one of a small class), since neighbours (of one
        recording, or of overlapping windows) are alike; where ``groups`` are given to ``fit``,
        whole groups. ``"auto"``: 0.1 from 500 samples on, and where ``calibration="temperature"``
        demands it; else none, where each sample is needed to learn from. Of a number, too: where
        fewer than 10 would be held out, or a class has one sample, none are.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss. Regressors take None only.
    label_smoothing : float or "auto", default="auto" (0.0 for MAESTRO)
        Share of each target spread over all classes. ``"auto"``: .05 from 500 samples on, where a
        temperature repairs what that does to probabilities, and 0 below. Regressors ignore it.
    calibration : {"auto", "temperature"} or None, default="auto"
        ``"temperature"`` divides the logits by a number learnt from the held-out samples, with and
        without the missing sensors of the training: one for samples with every modality, one for
        those with none, and in between for the others. It fails where nothing is held out;
        ``"auto"`` then does nothing, and without ``groups`` it is slower to sharpen. None leaves
        the probabilities alone. Regressors ignore it.
    n_estimators : int or "auto", default="auto"
        Networks trained from different first weights, whose answers are averaged. ``"auto"``: 3 for
        Maestro, 1 for the other methods.
    callbacks : list of skorch.callbacks.Callback or None, default=None
        More callbacks for the training loop.
    device : str, default="auto"
        ``"auto"`` takes an accelerator where there is one; else a device of torch.
    precision : {"float32", "bf16", "fp16"}, default="float32"
        Of the matrix products in training and prediction.
    warm_start : bool, default=False
        Whether a second ``fit`` goes on from the weights of the first.
    net_params : dict or None, default=None
        More parameters of ``skorch.NeuralNet``.
    random_state : int, RandomState or None, default=None
        Seed of everything drawn. The same int gives the same bits, in threads and processes too.
    verbose : int, default=0
        Above 0, a bar over the epochs."""

REGRESSOR_ATTRIBUTES = """schema_ : Schema
        The modalities seen in ``fit``.
    nets_ : list of PanelNet
        The trained networks.
    history_ : list of list of dict
        Losses and seconds, by network and epoch.
    n_training_ : int
        Samples trained on, those held out not counted.
    n_iter_ : int
        Epochs run.
    n_features_in_ : int
        Columns of a 2-D X, channels of a 3-D one, else modalities."""

CLASSIFIER_ATTRIBUTES = f"""classes_ : array of shape (n_classes,)
        The classes, sorted; for labels their positions.
    temperature_ : array of shape (2,)
        By which the logits are divided, with every modality and with none; in between it is
        exponential in the share of silent modalities. Above 1 the networks were too sure, below 1
        too modest. Ones without calibration.
    {REGRESSOR_ATTRIBUTES}"""
