"""What the noise is: measured once, in one way."""

from endmember.factor.noise.model import (
    NoiseModel,
    counting_noise,
    denoised_before,
    estimate_noise,
    known_noise,
)
from endmember.factor.noise.photon_transfer import (
    detection_limit,
    growth,
    spiked_overlap,
    spiked_strength,
)
from endmember.factor.noise.splitting import heads
from endmember.factor.noise.whitening import (
    lone_count_floor,
    weighted,
    whitening_weights,
    with_white_noise,
)

__all__ = [
    "NoiseModel",
    "counting_noise",
    "denoised_before",
    "detection_limit",
    "estimate_noise",
    "growth",
    "heads",
    "known_noise",
    "lone_count_floor",
    "spiked_overlap",
    "spiked_strength",
    "weighted",
    "whitening_weights",
    "with_white_noise",
]
