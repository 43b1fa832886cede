"""Before the factorisation: functions on arrays and signals alike."""

from endmember.factor.lazily import lazily

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "alignment": ["align", "find_shifts"],
        "background": ["fit_background", "subtract_background"],
        "continuum": ["PowerLawBackground", "ShapeBackground", "bremsstrahlung_shapes"],
        "denoising": ["Separated", "denoise", "separate_outliers"],
        "detector": [
            "bad_channels",
            "correct_detector",
            "fixed_pattern",
            "remove_afterglow",
            "remove_fixed_pattern",
        ],
        "transmission": ["absorbance", "subtract_baseline"],
        "spikes": ["find_spikes", "remove_spikes"],
    },
)
