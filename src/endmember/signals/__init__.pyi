"""Public names, written by tools/stubs.py."""

from endmember.signals.result.reporting import about_references as about_references
from endmember.signals.result.exporting import as_json as as_json
from endmember.signals.cropping import channels_within as channels_within
from endmember.signals.choosing import choose_model as choose_model
from endmember.signals.choosing import choose_models as choose_models
from endmember.signals.choosing import chosen_loss as chosen_loss
from endmember.signals.cropping import crop_energy as crop_energy
from endmember.signals.cropping import crop_windows as crop_windows
from endmember.signals.result.differences import differences as differences
from endmember.signals.files.reading import free_memory as free_memory
from endmember.signals.files.reading import guard as guard
from endmember.signals.cropping import leave_out_missing as leave_out_missing
from endmember.signals.choosing import named_loss as named_loss
from endmember.signals.plan import plan_in_words as plan_in_words
from endmember.signals.files.reading import read as read
from endmember.signals.files.reading import read_cheaply as read_cheaply
from endmember.signals.result.several import unmix_images as unmix_images
from endmember.signals.result.unmixing import unmix_one as unmix_one
from endmember.signals.result.several import unmix_together as unmix_together
from endmember.signals.bridge import wrap_maps as wrap_maps
from endmember.signals.bridge import wrap_spectra as wrap_spectra
__all__ = [
    "about_references",
    "as_json",
    "channels_within",
    "choose_model",
    "choose_models",
    "chosen_loss",
    "crop_energy",
    "crop_windows",
    "differences",
    "free_memory",
    "guard",
    "leave_out_missing",
    "named_loss",
    "plan_in_words",
    "read",
    "read_cheaply",
    "unmix_images",
    "unmix_one",
    "unmix_together",
    "wrap_maps",
    "wrap_spectra",
]
