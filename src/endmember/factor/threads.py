"""How many threads the linear algebra takes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Hold the BLAS to one thread in a ``with`` block.

    Products of a tall and a tiny matrix gain nothing from threads and lose much to their meetings, the more so on a
    busy machine; and the bits of an answer no longer depend on how many threads there are.
    """
    return _controller().limit(limits=1, user_api="blas")
