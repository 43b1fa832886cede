"""Which model is fitted and how: the options that say so, and the model that they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer

from endmember.catalogue import METHODS, SOLVERS, named

from .options import (
    DispersionOption,
    DriftOption,
    LossOption,
    MaxIterOption,
    MethodOption,
    OnOption,
    SeedOption,
    SegmentsOption,
    SolverOption,
    StartsOption,
    TolOption,
    of_method,
    only_with,
)


@dataclass
class Fitting:
    """Options of the model and of its fit."""

    method: MethodOption = "nmf"
    loss: LossOption = "auto"
    solver: SolverOption = None
    starts: StartsOption = 10
    max_iter: MaxIterOption = 2000
    tol: TolOption = 1e-6
    seed: SeedOption = 0
    segments: SegmentsOption = None
    on: OnOption = None
    drift: DriftOption = None
    dispersion: DispersionOption = False

    def check(self, context: typer.Context) -> dict[str, Any]:
        """Return what was given for the method; refuse a method that there is not, and what has no effect."""
        only_with("--drift 3", self.drift is not None, dispersion=self.dispersion)
        return of_method(context, self.method)

    def takes_single_values(self) -> bool:
        """Tell whether single values can be missing, without the spectra that hold them."""
        return self.loss != "scaled" and named(METHODS, self.method, "method").takes_weights

    def model(
        self, image: Any, components: int | None, parameters: dict[str, Any], masks: dict[str, Any]
    ) -> tuple[Any, list[str], Any]:
        """Return the model with these parameters, the reasons for it, and the rank panel where that was asked."""
        from endmember.methods.drift import Drifting
        from endmember.signals.choosing import choose_model

        solver = self.solver and named(SOLVERS, self.solver.lower(), "solver")
        own = {"loss": self.loss, "solver": solver and solver()}
        model, reasons, panel = choose_model(
            image, components, method=self.method, **masks, **(parameters | own)
        )
        if self.drift is not None:
            model = Drifting(model, max_shift=self.drift, dispersion=self.dispersion)
        return model, reasons, panel
