"""What is not emitted but taken away, and what lies under the lines: absorbance and baselines."""

from functools import partial
from typing import Any

import numpy as np

from endmember.errors import EndmemberError, check_known, refuse_if
from endmember.factor.data.inspection import far_from_one, is_lazy, unwrap
from endmember.preprocess.lifting import lifted, map_pixels


@lifted(missing=True)
def absorbance(I: Any, I0: Any, *, variance: Any = None) -> Any:  # noqa: E741
    r"""Return the absorbance (optical density) :math:`A = -\ln(I / I_0)` of transmitted intensities.

    What a fit to :math:`A` needs to know of its noise is, to first order,
    :math:`\sigma_A^2 = \sigma_I^2 / I^2 + \sigma_{I_0}^2 / I_0^2`: dark pixels say little.

    Parameters
    ----------
    I : array_like, Dask array or HyperSpy signal, (*domain, channels)
        What came through (STXM, IR, XAS in transmission), without dark current. Never changed.
    I0 : float, array_like or HyperSpy signal, (channels,) or (*domain, channels)
        What came in.
    variance : "counts", array_like or float, optional
        Of ``I``: "counts" where ``I`` and ``I0`` are counts, else its variance with ``I0`` free of noise.

    Returns
    -------
    ndarray, Dask array or HyperSpy signal
        As ``I``, without unit; masked, so that fits leave it out, where ``I`` or ``I0`` is not positive.
    variance : of the same kind, only where it was asked for
        Of every value of the absorbance; infinite where it is missing. ``weights=1 / variance`` is what a fit takes.

    Raises
    ------
    ValueError
        If nothing is positive, or shapes do not fit.

    Examples
    --------
    >>> absorbance([[50.0, 25.0]], 100.0).round(3)
    array([[0.693, 1.386]])
    >>> absorbance([[50.0, 0.0]], [100.0, 100.0], variance="counts")[1].round(3)
    array([[0.03,  inf]])
    """
    before = unwrap(I0) if is_lazy(unwrap(I0)) else np.asarray(unwrap(I0), dtype=float)
    try:
        np.broadcast_shapes(I.shape, before.shape[-I.ndim :])
        before = np.broadcast_to(before, I.shape)
    except ValueError:
        raise EndmemberError(
            f"I0 has the shape {before.shape} and I has {I.shape}; give one value, (channels,), or the shape of I"
        ) from None
    known = (I > 0) & (before > 0)
    refuse_if(
        not is_lazy(known) and not known.any(),
        "no transmission is positive, so nothing has an absorbance; see whether I and I0 are swapped or dark",
    )
    through, into = (np.where(known, one, np.nan) for one in (I, before))
    found = np.log(into / through)
    if is_lazy(found):
        import dask.array as da

        found = da.ma.masked_invalid(found)
    elif not known.all():
        found = np.ma.masked_invalid(found)
    if variance is None:
        return found
    if isinstance(variance, str):
        check_known("variance", variance, "counts")
        spread = 1 / through + 1 / into
    else:
        spread = unwrap(variance) / through**2
    return found, np.where(known, spread, np.inf)


@lifted
def subtract_baseline(X: Any, method: str = "asls", *, energy: Any = None, **options: Any) -> Any:
    """Subtract the baseline under the lines of every spectrum (Raman, CL, PL, FTIR), by the package pybaselines.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (*domain, channels)
        Never changed. The axis may fall and need not be even.
    method : str
        Any of one spectrum that pybaselines has: asymmetric least squares ``asls`` and its kin ``iasls``, ``airpls``,
        ``arpls``, ``drpls``; ``modpoly``, ``imodpoly``; ``rolling_ball``; ``snip`` …
    energy : ndarray, (channels,), optional
        For arrays; a signal brings its own.
    **options
        Of the method, such as ``lam=1e6`` and ``p=0.01`` of ``asls``: how smooth the baseline is, and which share of
        the channels lies below it.

    Returns
    -------
    ndarray, Dask array or HyperSpy signal
        As ``X``; noise around zero keeps both signs.

    Raises
    ------
    ValueError
        If pybaselines is not installed, has no such method, or refuses its options.

    Examples
    --------
    >>> y, x = np.ones((3, 1)), np.linspace(0, 9, 50)
    >>> peak = np.exp(-((x - 4) ** 2))
    >>> found = subtract_baseline(y * (5 + x + peak), lam=1e4, p=1e-3)
    >>> bool(np.abs(found - peak).max() < 0.1)
    True

    References
    ----------
    Eilers & Boelens, Baseline correction with asymmetric least squares smoothing (2005). Erb, pybaselines,
    doi:10.5281/zenodo.5608581.
    """
    try:
        from pybaselines import Baseline
    except ImportError:
        raise EndmemberError(
            'subtract_baseline needs the package pybaselines: pip install "endmember[baselines]"'
        ) from None
    names = [name for name in dir(Baseline) if name.islower() and not name.startswith("_")]
    check_known("method", method, *names)
    fitter = Baseline(np.arange(X.shape[-1], dtype=float) if energy is None else energy)
    return map_pixels(partial(_without_baseline, getattr(fitter, method), options), X)


def _without_baseline(fit: Any, options: dict[str, Any], block: np.ndarray) -> np.ndarray:
    unit = 2.0 ** far_from_one(float(np.abs(block).max(initial=0.0)), block.dtype)
    flat = block.reshape(-1, block.shape[-1]) / unit
    try:
        found = np.array([row - fit(row, **options)[0] for row in flat])
    except (TypeError, ValueError, KeyError) as problem:
        raise EndmemberError(
            f"pybaselines refuses the spectra or the options {options} ({problem}); see its page on the method"
        ) from problem
    return found.reshape(block.shape) * unit
