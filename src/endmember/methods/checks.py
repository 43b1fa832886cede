"""What parameters and data must be, for all models: refused in one sentence, before any work."""

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from endmember.errors import (
    Argument,
    EndmemberTypeError,
    Sentence,
    Words,
    refuse_if,
)
from endmember.factor.data import Observed
from endmember.factor.penalties import Penalty, is_free


def check_number_of_components(k: Any, name: str = "n_components") -> int:
    """Return ``k`` as an int.

    Raises
    ------
    ValueError, TypeError
        If it is missing, not a whole number, or below 1.
    """
    refuse_if(k is None, f"{name} is missing: say how many; em.assess.rank(X) suggests")
    refuse_if(
        not isinstance(k, Integral) or isinstance(k, bool),
        f"{name}={k!r} is not a whole number; give an int of at least 1, such as 3",
        kind=EndmemberTypeError,
    )
    refuse_if(
        k < 1, Argument(name, k), " leaves nothing to find; give a whole number of at least 1"
    )
    return int(k)


def check_positive_whole(name: str, value: Any) -> None:
    """Refuse what is no whole number of at least 1.

    Raises
    ------
    ValueError
    """
    refuse_if(
        not isinstance(value, Integral) or isinstance(value, bool) or value < 1,
        Argument.of(name, value),
        " must be a whole number of at least 1",
    )


def check_sweeps(model: Any) -> None:
    """Refuse numbers of starts and sweeps, and a progress to stop at, that cannot work.

    Raises
    ------
    ValueError
    """
    check_positive_whole("n_starts", model.n_starts)
    check_positive_whole("max_iter", model.max_iter)
    refuse_if(
        not isinstance(model.tol, Real) or not float(model.tol) >= 0,
        Argument.of("tol", model.tol),
        " is not a progress per sweep; give a number such as 1e-6",
    )


def generator(random_state: Any) -> np.random.Generator:
    """Return the generator of a seed of any kind."""
    return (
        np.random.default_rng(random_state.randint(2**31))
        if isinstance(random_state, np.random.RandomState)
        else np.random.default_rng(random_state)
    )


def check_fits(model: Any, observed: Observed) -> int:
    """Return how many components a model asks for; refuse more than pixels or channels, and weights it does not take.

    Raises
    ------
    ValueError
        If ``k > min(pixels, channels)`` among those that are neither masked nor empty, or entries have weights.
    """
    k = int(model.n_components)
    check_weights(model, observed)
    n, m = observed.data.shape
    refuse_if(
        k > min(n, m),
        Argument("n_components", k),
        " is more than the data can hold: ",
        *of_this_size(n, m),
        f" are neither masked nor empty; at most {min(n, m)} components are allowed",
    )
    return k


def of_this_size(n: int, m: int) -> Words:
    """Return how many pixels and channels there are, with the words that scikit-learn looks for."""
    pixels, channels = f"{n} pixel{'s' * (n != 1)}", f"{m} channel{'s' * (m != 1)}"
    sizes = (f"n_samples = {pixels}", f"n_features = {channels}")
    return Argument(pixels, says=sizes[0]), " and ", Argument(channels, says=sizes[1])


def check_weights(model: Any, observed: Observed) -> None:
    """Refuse weights of single entries, and missing ones, where a model takes none.

    Raises
    ------
    ValueError
    """
    refuse_if(
        observed.data.weighted and not model.takes_weights,
        Argument("method", type(model).__name__, f"em.{type(model).__name__}"),
        " takes no weights of single entries, and no missing values; leave whole pixels and channels out (",
        Argument("mask"),
        " and ",
        Argument("channel_mask"),
        "), or use ",
        Argument("method", "NMF", "em.NMF"),
    )


def warn_of_negatives(observed: Observed, *penalties: Sequence[Penalty]) -> None:
    """Warn once, with the fraction, where data have negative values that no factor is free to follow."""
    found = observed.survey
    if found.n_negative and not any(map(is_free, penalties)):
        share = found.n_negative / max(1, observed.data.shape[0] * observed.data.shape[1])
        warnings.warn(
            Sentence(
                f"{share:.2%} of the values are negative (a subtracted background leaves some); squared error "
                "accepts them, but non-negative components cannot follow them, and weights by counts (",
                Argument("loss", "PoissonScaled", "em.PoissonScaled"),
                ") are no longer those of the noise",
            ),
            UserWarning,
            stacklevel=4,
        )


def seeded(model: Any) -> Any:
    """Give a model whose seed is no number one, so that it can be run again."""
    for name, seed in model.get_params().items():
        if name.endswith("random_state") and not isinstance(seed, int | np.integer):
            rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng()
            model.set_params(**{name: int(rng.integers(2**31))})
    return model
