"""Public names, written by tools/stubs.py."""

from endmember.preprocess.continuum import PowerLawBackground as PowerLawBackground
from endmember.preprocess.denoising import Separated as Separated
from endmember.preprocess.continuum import ShapeBackground as ShapeBackground
from endmember.preprocess.transmission import absorbance as absorbance
from endmember.preprocess.alignment import align as align
from endmember.preprocess.detector import bad_channels as bad_channels
from endmember.factor.penalties.lines import bremsstrahlung_shapes as bremsstrahlung_shapes
from endmember.preprocess.detector import correct_detector as correct_detector
from endmember.preprocess.denoising import denoise as denoise
from endmember.preprocess.alignment import find_shifts as find_shifts
from endmember.preprocess.spikes import find_spikes as find_spikes
from endmember.preprocess.background import fit_background as fit_background
from endmember.preprocess.detector import fixed_pattern as fixed_pattern
from endmember.preprocess.detector import remove_afterglow as remove_afterglow
from endmember.preprocess.detector import remove_fixed_pattern as remove_fixed_pattern
from endmember.preprocess.spikes import remove_spikes as remove_spikes
from endmember.preprocess.denoising import separate_outliers as separate_outliers
from endmember.preprocess.background import subtract_background as subtract_background
from endmember.preprocess.transmission import subtract_baseline as subtract_baseline
__all__ = [
    "PowerLawBackground",
    "Separated",
    "ShapeBackground",
    "absorbance",
    "align",
    "bad_channels",
    "bremsstrahlung_shapes",
    "correct_detector",
    "denoise",
    "find_shifts",
    "find_spikes",
    "fit_background",
    "fixed_pattern",
    "remove_afterglow",
    "remove_fixed_pattern",
    "remove_spikes",
    "separate_outliers",
    "subtract_background",
    "subtract_baseline",
]
