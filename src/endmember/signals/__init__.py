"""The world's data: HyperSpy signals in and out, the result and its folder, and where it came from.

``headers`` looks at a file before any reader does, ``reading`` turns a file into signals or into one
clear error, within bounds of time and memory, ``source`` says which of its signals is taken, ``bridge`` unwraps
signals to arrays and wraps arrays as signals, and ``provenance`` keeps what must be known to run an
answer again.
"""

from endmember.factor.lazily import lazily

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "bridge": ["wrap_maps", "wrap_spectra"],
        "choosing": ["choose_model", "choose_models", "chosen_loss", "named_loss"],
        "cropping": ["channels_within", "crop_energy", "crop_windows", "leave_out_missing"],
        "files.reading": ["free_memory", "guard", "read", "read_cheaply"],
        "plan": ["plan_in_words"],
        "result.several": ["unmix_images", "unmix_together"],
        "result.differences": ["differences"],
        "result.exporting": ["as_json"],
        "result.reporting": ["about_references"],
        "result.unmixing": ["unmix_one"],
    },
)
