"""After the fit: how many components, how sure, which model."""

from endmember.factor.lazily import lazily

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "bands": ["Bands", "ambiguity"],
        "intervals": ["Interval", "displacement"],
        "percentages": ["Composition", "composition"],
        "number": ["RankReport", "rank"],
        "hints": ["Hint", "element_hints"],
        "odd_pixels": ["Anomalies", "anomalies"],
        "resampling": ["Recurrence", "recurrence"],
        "detection": ["Detectability", "detectability", "local_rank"],
        "standard_errors": ["Errors", "uncertainty"],
        "weights": ["Path", "path"],
    },
)
