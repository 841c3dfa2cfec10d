"""Experts to which the modalities of each timepoint are routed, jointly or by modality.

Sizes: B batch, M modalities, L timepoints, D width, E experts, k chosen, G routers, W width of what
a router reads, F hidden width of an expert, N tokens in all, S tokens in a block.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import mean_weights

from ._experts import Experts

__all__ = ["GATES", "ROUTERS", "ModalityMoE", "routing_entropy_loss"]

ROUTERS = ("joint", "per_modality", "disjoint")
GATES = ("softmax", "laplace", "gaussian")

# Tokens of one expert that are multiplied at once. Forward and backward of 12,288 tokens, width 64,
# hidden 64, E = 16, k = 4, on one core: all experts on all tokens 1,120 ms, blocks of 32, 64, 128,
# 256 tokens 466, 389, 325, 281 ms; in a small batch most slots of large blocks are empty.
_BLOCK = 128

_MIN_NOISE = 1e-2  # smallest standard deviation of the noise, as in the released code


class ModalityMoE(nn.Module):
    """Feed-forward layer in which the modalities of each timepoint pass through ``k`` experts.

    In training, Gaussian noise of a learned width that depends on the input is added to the logits,
    so that experts that were not chosen are tried.

    Parameters
    ----------
    n_modalities : int
        Modalities M.
    d_model : int
        Width D of input and output.
    n_experts : int, default=8
        Experts E in all.
    k : int, default=2
        Experts that each router chooses. ``k=n_experts`` is a dense mixture. With ``k=1`` the only
        gate is 1, and the router learns from the regulariser alone.
    d_hidden : int, default=64
        Hidden width F of an expert.
    router : {"joint", "per_modality", "disjoint"}, default="per_modality"
        ``"joint"``: one router reads all modalities side by side, and its experts rewrite them
        all. ``"per_modality"``: each modality has its router, all share the experts.
        ``"disjoint"``: each modality has its router and ``n_experts / n_modalities`` experts.
    gate : {"softmax", "laplace", "gaussian"}, default="laplace"
        Logit of an expert: inner product with its key, minus the distance to its key, or minus
        the squared distance.

    Raises
    ------
    ValueError
        If ``router`` or ``gate`` is unknown, ``k`` is not in [1, experts of a router], or
        ``"disjoint"`` cannot split the experts evenly.

    Notes
    -----
    Inputs ``x (B, M, L, D)`` and ``available (B, M)`` bool; outputs ``(B, M, L, D)``, the loss of
    eq. 8 of [1]_ and the record: ``routing (B, M, L, E)`` probabilities over all experts before
    noise and choice, ``gate (B, M, L, E)`` weights of the chosen ones.

    Cost grows with ``k``, not with ``n_experts``. No token is ever dropped.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285
    .. [2] Han et al., "FuseMoE: Mixture-of-Experts Transformers for Fleximodal Fusion", NeurIPS,
       2024. https://arxiv.org/abs/2402.03226

    Examples
    --------
    >>> import torch
    >>> moe = ModalityMoE(3, 16, router="per_modality")
    >>> y, loss, record = moe(torch.randn(2, 3, 5, 16), torch.ones(2, 3, dtype=bool))
    >>> y.shape, record["gate"].count_nonzero(-1).unique()
    (torch.Size([2, 3, 5, 16]), tensor([2]))
    """

    # NOTE[DIFF] The released code flattens all reference times of a modality into one vector and
    # routes it as a whole (an expert has time x width inputs); its experts end in a log-softmax
    # and are mixed in log space. Here each reference time is routed by itself and experts are
    # plain two-layer networks, mixed as they are.

    def __init__(
        self,
        n_modalities: int,
        d_model: int,
        *,
        n_experts: int = 8,
        k: int = 2,
        d_hidden: int = 64,
        router: str = "per_modality",
        gate: str = "laplace",
    ) -> None:
        super().__init__()
        if router not in ROUTERS:
            raise ValueError(f"router={router!r} is unknown; choose one of {list(ROUTERS)}.")
        if gate not in GATES:
            raise ValueError(f"gate={gate!r} is unknown; choose one of {list(GATES)}.")
        own = n_experts
        if router == "disjoint":
            if n_experts % n_modalities:
                raise ValueError(
                    f"router='disjoint' splits the experts evenly between the modalities, but "
                    f"n_experts={n_experts} is no multiple of {n_modalities} modalities. Use "
                    f"n_experts={max(1, round(n_experts / n_modalities)) * n_modalities}."
                )
            own = n_experts // n_modalities
        if not 1 <= k <= own:
            raise ValueError(
                f"k is in [1, {own}], the experts a router can choose from with router={router!r} "
                f"and n_experts={n_experts}; got k={k}."
            )
        self.n_modalities, self.n_experts, self.k = n_modalities, n_experts, k
        self.router, self.gate = router, gate
        self.generator: torch.Generator | None = None
        width = d_model * n_modalities if router == "joint" else d_model
        n_routers = 1 if router == "joint" else n_modalities
        # NOTE[DIFF] The released code starts all keys at zero, where every expert is equally far.
        # We draw them, with a spread at which the gates are nearly even at first.
        self.keys = nn.Parameter(torch.randn(n_routers, own, width) / math.sqrt(width))
        self.noise = nn.Parameter(torch.zeros(n_routers, width, own))
        self.experts = Experts(n_experts, width, d_hidden, block=_BLOCK, bias=True)

    def forward(self, x: Tensor, available: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Route, transform and mix."""
        n_samples, n_modalities, length, _ = x.shape
        u = x
        if self.router == "joint":
            u = x.transpose(1, 2).flatten(2).unsqueeze(1)  # (B, M, L, D) -> (B, 1, L, M * D)
        logits = self._logits(u)  # (B, G, L, E)
        top, expert = self._noisy(logits, u).topk(self.k, dim=-1)
        weight = top.float().softmax(-1).to(x.dtype)
        gate = torch.zeros_like(logits, dtype=x.dtype).scatter(-1, expert, weight)
        if self.router == "disjoint":  # modality g has the experts g * E / M and on
            first = torch.arange(n_modalities, device=x.device) * gate.shape[-1]
            expert = expert + first[:, None, None]
        y = self.experts(u.flatten(0, 2), expert.flatten(0, 2), weight.flatten(0, 2))
        y = y.view_as(u)  # (N, W) -> (B, G, L, W)
        if self.router == "joint":
            y = y.squeeze(1).reshape(n_samples, length, n_modalities, -1).transpose(1, 2)
        routing, gate = self._by_modality(logits.softmax(-1)), self._by_modality(gate)
        loss = routing_entropy_loss(routing, available)
        return y, loss, {"routing": routing, "gate": gate}

    def _logits(self, u: Tensor) -> Tensor:
        """Affinity of each token to each expert, ``(B, G, L, E)``."""
        inner = _apply(u, self.keys.transpose(-2, -1))
        if self.gate == "softmax":
            return inner
        squared = u.square().sum(-1, keepdim=True) - 2 * inner
        squared = squared + self.keys.square().sum(-1).unsqueeze(1)
        if self.gate == "gaussian":
            return -squared
        return -squared.clamp(min=1e-12).sqrt()

    def _noisy(self, logits: Tensor, u: Tensor) -> Tensor:
        """Logits by which experts are chosen: noisy in training."""
        if not self.training:
            return logits
        spread = F.softplus(_apply(u, self.noise)) + _MIN_NOISE
        return logits + spread * torch.empty_like(logits).normal_(generator=self.generator)

    def _by_modality(self, p: Tensor) -> Tensor:
        """Weights ``(B, G, L, own experts)`` as ``(B, M, L, E)``."""
        if self.router == "joint":
            return p.expand(-1, self.n_modalities, -1, -1)
        if self.router == "per_modality":
            return p
        owner = torch.eye(self.n_modalities, dtype=p.dtype, device=p.device)
        return (p.unsqueeze(-2) * owner[:, None, :, None]).flatten(-2)

    def extra_repr(self) -> str:
        """The options, for ``print``."""
        return f"n_experts={self.n_experts}, k={self.k}, router={self.router}, gate={self.gate}"


def routing_entropy_loss(routing: Tensor, available: Tensor) -> Tensor:
    """Mean entropy of the modalities' routing minus the entropy of their mean routing.

    Eq. 8 of [1]_: ``1/M sum_j H(p_j) - H(1/M sum_j p_j)``, where ``p_j`` is the routing of
    modality j averaged over its observations. It is smallest, ``-log(min(M, E))``, where each
    modality is routed to experts of its own with certainty, and 0 where all are routed alike.

    Parameters
    ----------
    routing : Tensor of shape (B, M, L, E)
        Probabilities over experts.
    available : bool Tensor of shape (B, M)
        Modalities that a sample has; the others do not enter the averages.

    Returns
    -------
    Tensor of shape ()
        At most 0. 0 where nothing is available.

    Notes
    -----
    A joint router gives all modalities of a sample the same probabilities: then the term is 0
    unless different samples lack different modalities. With disjoint experts it is the constant
    ``-log(M)`` where nothing is absent. It steers the per-modality router.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285

    Examples
    --------
    >>> import torch
    >>> own = torch.eye(2).reshape(1, 2, 1, 2)
    >>> round(routing_entropy_loss(own, torch.ones(1, 2, dtype=bool)).item(), 4)
    -0.6931
    """
    # NOTE[DIFF] The released code of FuseMoE computes the squared coefficients of variation of
    # importance and load instead, and discards them. We add eq. 8 as the papers define it.
    weight = available.to(routing.dtype)
    count = weight.sum(0)  # (M,)
    p = torch.einsum("bm,bme->me", weight, routing.mean(2)) / count.clamp(min=1).unsqueeze(-1)
    share = mean_weights(count > 0).to(routing.dtype)
    return (share * _entropy(p)).sum() - _entropy(share @ p)


def _apply(u: Tensor, weight: Tensor) -> Tensor:
    """Weights ``(G, W, V)`` of each router applied to ``(B, G, L, W)``."""
    return torch.einsum("bglw,gwv->bglv", u, weight)


def _entropy(p: Tensor) -> Tensor:
    # xlogy has an infinite slope at 0, where a disjoint router puts exact zeros.
    return -(p * p.clamp(min=torch.finfo(p.dtype).tiny).log()).sum(-1)
