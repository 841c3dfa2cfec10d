"""
One network, trained by several processes
=========================================

Each process goes through the samples in an order of its own, and a step takes the mean of their
gradients, as the step of a batch that is as many times larger. With k processes give each a k-th of
the batch and of the epochs. Two processes on a CPU, which talk by gloo::

    torchrun --standalone --nproc_per_node 2 examples/train_in_processes.py model.mts

It takes ``pip install 'mts-fusion[cluster]'``. On GPUs leave ``cpu=True`` out, and give
``device=accelerator.device`` to the model.
"""

import sys

import torch
from accelerate import Accelerator
from skorch.callbacks import Callback

from mts_fusion import MaestroClassifier, make_panel_classification


class MeanGradients(Callback):
    """Steps with the mean of the gradients of all processes, each with batches of its own."""

    def __init__(self, accelerator):
        self.accelerator = accelerator

    def on_train_begin(self, net, **kwargs):
        net.shuffle_.manual_seed(net.seed + self.accelerator.process_index)

    def on_grad_computed(self, net, named_parameters, **kwargs):
        weights = [p for _, p in named_parameters if p.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]
        mean = self.accelerator.reduce(torch.cat([grad.flatten() for grad in grads]), "mean")
        for p, grad in zip(weights, mean.split([p.numel() for p in weights]), strict=True):
            p.grad = grad.view_as(p)


def main(path):
    accelerator = Accelerator(cpu=True)
    X, y = make_panel_classification(240, noise=2.0, random_state=0)
    model = MaestroClassifier(
        n_estimators=1,
        d_model=16,
        batch_size=32 // accelerator.num_processes,
        max_epochs=8 // accelerator.num_processes,
        random_state=0,  # the same first weights in each process
        callbacks=[MeanGradients(accelerator)],
    ).fit(X[:160], y[:160])
    model.set_params(callbacks=None)  # now it is saved and pickled as any other
    if accelerator.is_main_process:
        model.save(path)
    p = accelerator.gather(torch.tensor(model.predict_proba(X[160:]))[None])
    apart = (p - p[0]).abs().max().item()
    accelerator.print(f"{len(p)} processes, {apart:.1g} apart, {model.score(X[160:], y[160:]):.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
