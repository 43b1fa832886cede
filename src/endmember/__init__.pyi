"""Public names, written by tools/stubs.py."""

from endmember.factor.solvers.least_squares import ADMM as ADMM
from endmember.factor.solvers.least_squares import ALS as ALS
from endmember.factor.solvers.pivoting import ANLS as ANLS
from endmember.factor.penalties.elementwise import Absent as Absent
from endmember.factor.penalties.basis import Basis as Basis
from endmember.factor.losses import BetaDivergence as BetaDivergence
from endmember.methods.pairs import CCA as CCA
from endmember.methods.tensors import CP as CP
from endmember.assess.comparison import Comparison as Comparison
from endmember.factor.penalties.elements import CoreLossEdges as CoreLossEdges
from endmember.methods.coupled import Coupled as Coupled
from endmember.methods.drift import Drifting as Drifting
from endmember.errors import EndmemberError as EndmemberError
from endmember.methods.expressions import Factor as Factor
from endmember.factor.penalties.elementwise import Free as Free
from endmember.methods.fusion import Fusion as Fusion
from endmember.factor.solvers.columns import HALS as HALS
from endmember.methods.projections import ICA as ICA
from endmember.factor.penalties.elementwise import Known as Known
from endmember.factor.sketch.low_rank import LowRank as LowRank
from endmember.factor.solvers.least_squares import MALS as MALS
from endmember.methods.references import MLLS as MLLS
from endmember.factor.penalties.mixtures import MinimumVolume as MinimumVolume
from endmember.factor.penalties.spatial import Monotone as Monotone
from endmember.factor.solvers.ratios import MultiplicativeUpdate as MultiplicativeUpdate
from endmember.methods.geometry import NFINDR as NFINDR
from endmember.methods.nmf import NMF as NMF
from endmember.factor.solvers.ratios import Newton as Newton
from endmember.factor.penalties.elementwise import NonNegative as NonNegative
from endmember.factor.penalties.relevance import Norm as Norm
from endmember.methods.projections import PCA as PCA
from endmember.methods.pairs import PLS as PLS
from endmember.factor.losses import Poisson as Poisson
from endmember.factor.losses import PoissonScaled as PoissonScaled
from endmember.factor.penalties.spatial import PowerLaws as PowerLaws
from endmember.factor.penalties.relevance import Relevance as Relevance
from endmember.factor.penalties.elementwise import Ridge as Ridge
from endmember.methods.geometry import SPA as SPA
from endmember.factor.penalties.spatial import Smooth as Smooth
from endmember.factor.penalties.mixtures import SoftOrthogonal as SoftOrthogonal
from endmember.factor.penalties.elementwise import Sparse as Sparse
from endmember.factor.losses import SquaredError as SquaredError
from endmember.methods.sampling import SubspaceSampling as SubspaceSampling
from endmember.factor.penalties.mixtures import SumToOne as SumToOne
from endmember.methods.expressions import Term as Term
from endmember.factor.penalties.spatial import TotalVariation as TotalVariation
from endmember.methods.tucker import Tucker as Tucker
from endmember.factor.penalties.spatial import Unimodal as Unimodal
from endmember.signals.result.unmixing import Unmixing as Unmixing
from endmember.signals.files.reading import UnreadableFileError as UnreadableFileError
from endmember.methods.geometry import VCA as VCA
from endmember.factor.penalties.elements import XRayLines as XRayLines
from endmember.factor.penalties.elementwise import ZeroOutside as ZeroOutside
__version__: str
from endmember import assess as assess
from endmember.assess.comparison import compare as compare
from endmember.factor.sketch.low_rank import compress as compress
from endmember.signals.files.source import load as load
from endmember.factor.matching import match_components as match_components
from endmember.signals.result.unmix_and_open import open_folder as open
from endmember import preprocess as preprocess
from endmember import show as show
from endmember.factor.matching import spectral_angle as spectral_angle
from endmember import synthetic as synthetic
from endmember.signals.result.unmix_and_open import unmix as unmix
from endmember.app.notebook import workbench as workbench
__all__ = [
    "ADMM",
    "ALS",
    "ANLS",
    "Absent",
    "Basis",
    "BetaDivergence",
    "CCA",
    "CP",
    "Comparison",
    "CoreLossEdges",
    "Coupled",
    "Drifting",
    "EndmemberError",
    "Factor",
    "Free",
    "Fusion",
    "HALS",
    "ICA",
    "Known",
    "LowRank",
    "MALS",
    "MLLS",
    "MinimumVolume",
    "Monotone",
    "MultiplicativeUpdate",
    "NFINDR",
    "NMF",
    "Newton",
    "NonNegative",
    "Norm",
    "PCA",
    "PLS",
    "Poisson",
    "PoissonScaled",
    "PowerLaws",
    "Relevance",
    "Ridge",
    "SPA",
    "Smooth",
    "SoftOrthogonal",
    "Sparse",
    "SquaredError",
    "SubspaceSampling",
    "SumToOne",
    "Term",
    "TotalVariation",
    "Tucker",
    "Unimodal",
    "Unmixing",
    "UnreadableFileError",
    "VCA",
    "XRayLines",
    "ZeroOutside",
    "__version__",
    "assess",
    "compare",
    "compress",
    "load",
    "match_components",
    "open",
    "preprocess",
    "show",
    "spectral_angle",
    "synthetic",
    "unmix",
    "workbench",
]
