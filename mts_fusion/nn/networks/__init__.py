"""Networks: one paper, one file."""

from mts_fusion.nn.networks._diffusion import ConditionalDiffusion
from mts_fusion.nn.networks._diffusion_sampler import DiffusionSampler
from mts_fusion.nn.networks._fusion import FusionNet, encoder_names
from mts_fusion.nn.networks._gaussian_transport import GaussianTransport
from mts_fusion.nn.networks._maestro import Maestro
from mts_fusion.nn.networks._output import ModuleOutput
from mts_fusion.nn.networks._reconstruction import MaskedReconstruction
from mts_fusion.nn.networks._trace import Trace
from mts_fusion.nn.networks._with_features import WithFeatures

__all__ = [
    "ConditionalDiffusion",
    "DiffusionSampler",
    "FusionNet",
    "GaussianTransport",
    "Maestro",
    "MaskedReconstruction",
    "ModuleOutput",
    "Trace",
    "WithFeatures",
    "encoder_names",
]
