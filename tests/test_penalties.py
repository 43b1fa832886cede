"""One battery for every penalty: a new one adds an entry to CASES and inherits all of it."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from scipy.optimize import brentq, nnls
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import endmember as em
from endmember.factor.data.axis import Grid
from endmember.factor.loop.compatibility import CANDIDATES, can_obey
from endmember.factor.loop.problem import Amounts
from endmember.factor.penalties import Penalty, bounds_of, check_together
from endmember.factor.penalties.mixtures import close, onto_simplex
from endmember.factor.subproblems import Quadratic, Setting

#: A line of twelve channels and an image of 5 by 4 pixels, some of which take no part.
LINE = Grid((12,), np.delete(np.arange(12), [0, 5, 6]))
IMAGE = Grid((5, 4), np.delete(np.arange(20), [3, 9, 10, 19]))
GRIDS = {"line": LINE, "image": IMAGE}
ENERGY = np.linspace(100.0, 650.0, 12)
REFERENCE = np.array([1.0, 2, 4, 3, 2, 1, 0, 0, 1, 3, 5, 2])
ABSENT = {"line": np.zeros((3, 12), bool), "image": np.zeros((5, 4, 3), bool)}
ABSENT["line"][1, 3:8] = ABSENT["image"][2:, :, 1] = True
K = 3


@dataclass(frozen=True)
class Case:
    """A penalty, where it lives, and how to tell that its constraint holds for rows ``F`` of a grid."""

    penalty: Penalty
    domain: str
    holds: Callable[[np.ndarray, Grid], bool] = lambda F, grid: True
    #: Columns that obey and that break the constraint, over the rows of the line or image.
    obeys: Callable[[Grid], np.ndarray] | None = None
    breaks: Callable[[Grid], np.ndarray] | None = None
    #: Whether the constraint itself has the unit of the data.
    has_unit: bool = False
    name: str = field(default="")

    def __str__(self):
        return self.name or f"{type(self.penalty).__name__}-{self.domain}"


def is_unimodal(F, grid):
    def single(f):
        slope = np.sign(np.diff(f)[np.abs(np.diff(f)) > 1e-12 * np.ptp(f)])
        return np.all(np.diff(slope) <= 0)

    return F.min() >= 0 and all(single(f) for f in F.T)


def is_decreasing(F, grid):
    return bool(np.all(np.diff(F, axis=0) <= 1e-12 * np.abs(F).max()))


def is_sum_of_laws(F, grid):
    laws = em.PowerLaws(ENERGY).dictionary(Setting(1, 1, grid))
    return all(nnls(laws, f)[1] <= 1e-8 * np.linalg.norm(f) for f in F.T)


def ramp(grid):
    return np.linspace(3.0, 1.0, len(grid.index))[:, None] * np.array([1.0, 0.5, 2.0])


def zigzag(grid):
    return 2.0 + np.resize([1.0, -1.0], len(grid.index))[:, None] * np.array([1.0, 0.5, 1.5])


def laws(grid):
    return (100.0 / ENERGY[grid.index, None]) ** np.array([1.0, 3.0, 6.0])


def on_edge(grid):
    return np.where((grid.index >= 2) & (grid.index < 9), 1.0, 0.0)[:, None] * np.ones(K)


def closed(grid):
    return np.full((len(grid.index), K), 1.0 / K)


def absent(domain):
    rows = (
        ABSENT["line"].T[LINE.index]
        if domain == "line"
        else ABSENT["image"].reshape(-1, K)[IMAGE.index]
    )
    return Case(
        em.Absent(ABSENT[domain]),
        domain,
        lambda F, grid: bool((F[rows] == 0).all()),
        lambda grid: np.where(rows, 0.0, 1.0),
        lambda grid: np.ones((len(grid.index), K)),
    )


def hats(grid):
    return np.maximum(1 - np.abs(np.arange(12)[:, None] / 2.75 - np.arange(5)), 0)


CASES = [
    Case(
        em.Basis(hats(LINE)),
        "line",
        lambda F, grid: all(
            nnls(hats(grid)[grid.index], f)[1] <= 1e-9 * np.linalg.norm(f) for f in F.T
        ),
        lambda grid: hats(grid)[grid.index, 1:4],
        zigzag,
    ),
    Case(em.NonNegative(), "line", lambda F, grid: F.min() >= 0, ramp, lambda grid: -ramp(grid)),
    Case(em.Ridge(0.3), "line"),
    Case(em.Ridge(0.3), "image"),
    Case(em.Norm(0.02), "line"),
    Case(em.Norm(0.02), "image"),
    Case(em.Sparse(0.02), "line"),
    Case(em.Sparse(0.02), "image"),
    absent("line"),
    absent("image"),
    Case(
        em.Known({1: REFERENCE}),
        "line",
        lambda F, grid: bool((F[:, 1] == REFERENCE[grid.index]).all()),
        lambda grid: REFERENCE[grid.index, None] * np.ones(K),
        ramp,
        has_unit=True,
    ),
    Case(
        em.ZeroOutside(2, 9),
        "line",
        lambda F, grid: bool((F[(grid.index < 2) | (grid.index >= 9)] == 0).all()),
        on_edge,
        ramp,
    ),
    Case(em.Smooth(0.5), "line"),
    Case(em.Smooth(0.5), "image"),
    Case(em.TotalVariation(0.02), "line"),
    Case(em.TotalVariation(0.02), "image"),
    Case(em.Unimodal(), "line", is_unimodal, ramp, zigzag),
    Case(em.Monotone(), "line", is_decreasing, ramp, zigzag),
    Case(em.PowerLaws(ENERGY), "line", is_sum_of_laws, laws, zigzag),
    Case(
        em.SumToOne(),
        "image",
        lambda F, grid: F.min() >= 0 and np.allclose(F.sum(axis=1), 1.0, rtol=0, atol=1e-12),
        closed,
        ramp,
    ),
    Case(
        em.SumToOne(mode="scale"), "image", name="SumToOne-scale",
        holds=lambda F, grid: np.allclose(F.T @ (F.sum(axis=1) - 1.0), 0.0, atol=1e-9 * len(F)),
    ),
    Case(em.MinimumVolume(0.01), "line"),
    Case(em.MinimumVolume(0.01), "image"),
]  # fmt: skip


def offering(*names):
    cases = [case for case in CASES if set(names) <= case.penalty.offers()]
    return pytest.mark.parametrize("case", cases, ids=str)


def setting_of(case):
    return Setting(2.0, 3.0, GRIDS[case.domain])


def random_factor(case, seed=0):
    return np.random.default_rng(seed).random((len(GRIDS[case.domain].index), K)) + 0.05


def random_subproblem(case, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    Z, n = rng.random((30, K)), len(GRIDS[case.domain].index)
    sub = Quadratic(Z.T @ Z, rng.random((n, 30)) @ Z)
    sub.row_weights = rng.random(n) + 0.5 if weighted else None
    sub.setting = setting_of(case)
    return sub


# --- what a penalty offers, one by one -----------------------------------------------------------


@offering("add")
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "row weights"])
def test_what_add_adds_touches_the_value_and_lies_above_it(case, weighted):
    plain, F = random_subproblem(case, weighted=weighted), random_factor(case)
    penalised = replace(plain)
    case.penalty.add(penalised, F)

    def rise(G):
        added = (penalised.value(G) - plain.value(G)) - (penalised.value(F) - plain.value(F))
        return added, case.penalty.value(G, plain.setting) - case.penalty.value(F, plain.setting)

    rng = np.random.default_rng(1)
    for size in (1e-3, 0.1, 1.0, 10.0):
        G = F + size * rng.normal(size=F.shape)
        majorant, value = rise(G)
        assert majorant >= value - 1e-9 * (abs(value) + size)
    direction = rng.normal(size=F.shape)
    slopes = [
        (np.subtract(rise(F + h * direction), rise(F - h * direction)) / (2 * h)) for h in (1e-5,)
    ]
    assert slopes[0][0] == pytest.approx(slopes[0][1], rel=1e-5, abs=1e-7)


@offering("bounds")
@pytest.mark.parametrize("solver", [em.ANLS(), em.HALS(), em.MultiplicativeUpdate()], ids=repr)
def test_bounds_are_met_bit_for_bit(case, solver):
    sub, F = random_subproblem(case), random_factor(case)
    sub.lower, sub.upper = bounds_of([em.NonNegative(), case.penalty], F.shape, GRIDS[case.domain])
    F = solver.improve(sub, sub.clip(F), 30)
    assert case.holds(F, GRIDS[case.domain])
    assert (sub.clip(F) == F).all()


@offering("prox")
def test_a_proximal_point_beats_its_neighbours_and_all_feasible_points(case):
    setting, step = setting_of(case), 0.4
    F, rng = 2 * random_factor(case) - 0.7, np.random.default_rng(2)

    def cost(U):
        return case.penalty.value(U, setting) + 0.5 * np.sum((U - F) ** 2) / step

    best = case.penalty.prox(F, step, setting)
    constraint = not case.penalty.has_scale
    for trial in range(40):
        size = 10.0 ** rng.uniform(-4, 0)
        other = best + size * rng.normal(size=F.shape)
        if constraint:
            other = case.penalty.prox(other, step, setting)
        assert cost(best) <= cost(other) * (1 + 2e-5), trial


@offering("prox")
def test_a_projection_done_twice_is_done_once(case):
    if case.penalty.has_scale:
        assert case.penalty.value(random_factor(case), setting_of(case)) > 0
        return
    once = case.penalty.prox(random_factor(case) - 0.3, 1.0, setting_of(case))
    twice = case.penalty.prox(once, 1.0, setting_of(case))
    np.testing.assert_allclose(twice, once, atol=1e-7)
    assert case.holds(once, GRIDS[case.domain])


@pytest.mark.parametrize("case", [case for case in CASES if case.obeys], ids=str)
def test_the_constraint_keeps_what_obeys_and_mends_what_does_not(case):
    grid, setting = GRIDS[case.domain], setting_of(case)
    good, bad = case.obeys(grid), case.breaks(grid)
    assert case.holds(good, grid) and not case.holds(bad, grid)

    def mend(F):
        if "prox" in case.penalty.offers():
            return case.penalty.prox(F, 1.0, setting)
        if "basis" in case.penalty.offers():
            return Amounts(case.penalty.basis(grid)).nearest(F)
        return np.clip(F, *bounds_of([case.penalty], F.shape, grid))

    np.testing.assert_allclose(mend(good), good, atol=1e-7)
    assert case.holds(mend(bad), grid)


def generators(case, n):
    """Return cones of columns, as generators, whose union is what the constraint allows."""
    ones = np.tri(n)
    if isinstance(case.penalty, em.Monotone):
        return [np.column_stack([ones.T, -np.ones(n)])]
    if isinstance(case.penalty, em.PowerLaws):
        return [case.penalty.dictionary(setting_of(case))]
    cones = []
    for p in range(n + 1):
        cone = np.zeros((n, n))
        cone[:p, :p] = np.tri(p)
        cone[p:, p:] = np.tri(n - p).T
        cones.append(cone)
    return cones


@pytest.mark.parametrize("weighted", [False, True], ids=["one curvature", "one a row"])
@offering("column", "prox")
def test_the_best_column_equals_brute_force(case, weighted):
    rng, setting, n = np.random.default_rng(3), setting_of(case), len(LINE.index)
    for _ in range(15):
        d = rng.random(n) + 0.2 if weighted else 1.7
        h = rng.normal(0.3, 1.0, n)
        found = case.penalty.column(h, d, np.zeros((n, K)), 1, setting)

        def cost(f, d=d, h=h):
            return np.sum(0.5 * d * f**2 - h * f)

        root = np.sqrt(np.broadcast_to(d, n))
        points = [
            cone @ nnls(root[:, None] * cone, h / root)[0] for cone in generators(case, n)
        ]  # fmt: skip
        assert cost(found) == pytest.approx(min(map(cost, points)), rel=1e-9, abs=1e-12)


def test_a_column_that_is_not_named_is_left_alone():
    h = np.array([1.0, 0.0, 1.0])
    for penalty in (
        em.Unimodal([0]),
        em.Monotone(columns=[0]),
        em.PowerLaws(ENERGY[:3], columns=[0]),
    ):
        np.testing.assert_array_equal(penalty.column(h, 2.0, np.zeros((3, 2)), 1, None), h / 2)
        assert (penalty.column(h, 2.0, np.zeros((3, 2)), 0, None) != h / 2).any()


def test_cutting_a_proximal_point_of_total_variation_at_zero_is_exact():
    penalty, setting = em.TotalVariation(0.1), Setting(1.0, 1.0, IMAGE)
    rng = np.random.default_rng(4)
    F = rng.normal(size=(16, 2))
    best = np.maximum(penalty.prox(F, 1.0, setting), 0.0)

    def cost(U):
        return penalty.value(U, setting) + 0.5 * np.sum((U - F) ** 2)

    for _ in range(200):
        other = np.maximum(best + 10.0 ** rng.uniform(-4, 0) * rng.normal(size=F.shape), 0.0)
        assert cost(best) <= cost(other) * (1 + 2e-5)


def test_smooth_costs_nothing_on_straight_slopes_of_a_line_and_on_flat_images():
    line = np.linspace(1, 4, 12)[LINE.index, None]
    assert em.Smooth().value(line, Setting(1, 1, LINE)) == pytest.approx(0, abs=1e-25)
    assert em.Smooth().value(np.ones((16, 1)), Setting(1, 1, IMAGE)) == 0


def test_smooth_counts_every_pair_of_neighbours_that_take_part_once():
    F = np.random.default_rng(5).random((16, 2))
    image = IMAGE.spread(F, np.nan)
    pairs = np.nansum(np.diff(image, axis=0) ** 2) + np.nansum(np.diff(image, axis=1) ** 2)
    assert em.Smooth(2.0).value(F, Setting(3.0, 1.0, IMAGE)) == pytest.approx(3.0 * pairs)


def test_unimodal_takes_non_negativity_into_account_when_it_places_the_peak():
    y = np.array([5.0, -100.0, 3.0, 3.0])
    np.testing.assert_array_equal(em.Unimodal().prox(y[:, None], 1.0, None)[:, 0], [5, 0, 0, 0])


# --- closure ---------------------------------------------------------------------------------------


def test_the_simplex_projection_solves_its_equation_for_the_threshold():
    F = np.random.default_rng(6).normal(size=(50, 6))
    for f, found in zip(F, onto_simplex(F, 2.0), strict=True):
        theta = brentq(lambda t, f=f: np.maximum(f - t, 0).sum() - 2.0, -10, 10, xtol=1e-15)
        np.testing.assert_allclose(found, np.maximum(f - theta, 0), atol=1e-12)


def test_closing_by_scale_keeps_the_product_and_finds_the_scale_of_closed_maps():
    rng = np.random.default_rng(7)
    C, S, d = rng.dirichlet(np.ones(3), 40), rng.random((20, 3)), np.array([0.1, 5.0, 300.0])
    closed_maps, spectra = close(C * d, S / d)
    np.testing.assert_allclose(closed_maps, C, rtol=1e-10)
    np.testing.assert_allclose(spectra, S, rtol=1e-10)


def test_closing_leaves_a_component_that_would_have_to_vanish_and_says_so(caplog):
    C = np.column_stack([np.ones(5), np.arange(5.0) + 1])
    closed_maps, spectra = close(C, np.eye(2))
    np.testing.assert_array_equal(closed_maps @ spectra.T, C)
    np.testing.assert_array_equal(closed_maps[:, 1], C[:, 1])
    assert "closure: components 1 would have to vanish" in caplog.text


# --- the whole fit -----------------------------------------------------------------------------------


def counts(seed=0):
    rng = np.random.default_rng(seed)
    C = rng.dirichlet(np.ones(K), 20) * 40
    S = np.abs(np.sin(np.outer(np.arange(12) + 2, [0.2, 0.35, 0.6]))) + 0.1
    return (rng.poisson(C @ S.T) + 1.0).reshape(5, 4, 12)


MASK, CHANNEL_MASK = np.ones(20, bool), np.ones(12, bool)
MASK[IMAGE.index] = CHANNEL_MASK[LINE.index] = False
INIT = (
    30 * np.random.default_rng(8).random((5, 4, K)) + 3,
    np.random.default_rng(9).random((K, 12)) + 0.1,
)
LOSSES = [em.SquaredError(), em.PoissonScaled(), em.Poisson(), em.BetaDivergence(0.5)]


def model(case, **parameters):
    which = "spectra" if case.domain == "line" else "maps"
    given = {"init": INIT, "max_iter": 8, "tol": 0.0, "compress": False, which: case.penalty}
    return em.NMF(K, **{**given, **parameters})


def fitted(case, X, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model(case, **parameters).fit(
            X, mask=MASK.reshape(5, 4), channel_mask=CHANNEL_MASK
        )  # fmt: skip


def rows_of(case, nmf):
    if case.domain == "line":
        return nmf.components_.T[LINE.index]
    return nmf.maps_.reshape(20, K)[IMAGE.index]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("solver", [*CANDIDATES, None], ids=repr)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fit_keeps_the_constraint_and_never_gets_worse_or_is_refused(case, solver, loss):
    willing = [solver] if solver else CANDIDATES
    if not any(s.can_solve(loss.makes) and can_obey(s, case.penalty) for s in willing):
        with pytest.raises(ValueError, match="use (solver=)?em|use em|leave a penalty out"):
            fitted(case, counts(), solver=solver, loss=loss)
        return
    nmf = fitted(case, counts(), solver=solver, loss=loss)
    assert case.holds(rows_of(case, nmf), GRIDS[case.domain])
    assert np.all(np.diff(nmf.objective_) <= 1e-10 * nmf.objective_[0])


def start_of_size(case, scale):
    """Return the start in the unit of the data, in the factor that is free to carry it."""
    if case.penalty.fixes_scale(K).any():
        return INIT[0], INIT[1] * scale
    return INIT[0] * scale, INIT[1]


@pytest.mark.parametrize("case", [case for case in CASES if not case.has_unit], ids=str)
def test_weights_have_no_unit(case):
    # Powers of two change no mantissa.
    small, large = (
        fitted(case, counts() * scale, init=start_of_size(case, scale))
        for scale in (2.0**-30, 2.0**20)
    )
    size = np.linalg.norm(small.components_[:, LINE.index], axis=1, keepdims=True)
    scaled = (
        large.components_ * size / np.linalg.norm(large.components_[:, LINE.index], axis=1)[:, None]
    )
    np.testing.assert_allclose(scaled, small.components_, rtol=1e-6, atol=1e-9 * size.max())


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if not (isinstance(c.penalty, em.Absent) and c.domain == "image")],
    ids=str,
)
def test_a_mirrored_image_beside_itself_has_the_same_spectra(case):
    X = counts()
    mirrored = [np.concatenate([A, A[::-1]]) for A in (X, INIT[0])]
    # The number of inner passes must not follow the number of pixels.
    solver = next(s for s in (em.HALS(inner=2), em.ADMM(), em.ANLS()) if can_obey(s, case.penalty))
    once = model(case, max_iter=6, solver=solver)
    twice = model(case, max_iter=6, solver=solver, init=(mirrored[1], INIT[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        once.fit(X), twice.fit(mirrored[0])
    np.testing.assert_allclose(twice.components_, once.components_, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_parameters_survive_cloning(case):
    assert repr(clone(case.penalty)) == repr(case.penalty)


TOGETHER_MAPS = [
    None,
    em.Sparse(0.02),
    em.Smooth(0.5),
    em.Absent(ABSENT["image"]),
    em.Ridge(0.3),
    em.TotalVariation(0.02),
]
TOGETHER_SPECTRA = [
    em.Known({1: REFERENCE}),
    [em.Unimodal([0]), em.Known({1: REFERENCE})],
    [em.Unimodal(), em.ZeroOutside(2, 9)],
    [em.Monotone(), em.Smooth(0.3)],
    em.PowerLaws(ENERGY, columns=[0]),
    [em.MinimumVolume(0.001), em.Absent(ABSENT["line"])],
]


@pytest.mark.parametrize("loss", LOSSES[:3], ids=repr)
@pytest.mark.parametrize("spectra", TOGETHER_SPECTRA, ids=lambda penalties: repr(penalties)[:30])
@pytest.mark.parametrize("maps", TOGETHER_MAPS, ids=lambda penalty: repr(penalty)[:12])
def test_penalties_on_both_factors_never_let_the_objective_rise(maps, spectra, loss):
    nmf = em.NMF(K, loss=loss, init=INIT, maps=maps, spectra=spectra, max_iter=15, tol=0.0)
    if isinstance(loss, em.Poisson) and isinstance(maps, em.TotalVariation):
        with pytest.raises(ValueError, match="SquaredError"):
            nmf.fit(counts())
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        nmf.fit(counts())
    assert np.all(np.diff(nmf.objective_) <= 1e-10 * nmf.objective_[0])


# --- refusals ------------------------------------------------------------------------------------------


LIST = Setting(1.0, 1.0, Grid((20,), known=False))
ON_LINE, ON_IMAGE = Setting(1.0, 1.0, LINE), Setting(1.0, 1.0, IMAGE)


@pytest.mark.parametrize(
    ("penalty", "setting", "sentence"),
    [
        (em.Smooth(), LIST, r"domain=\(ny, nx\)"),
        (em.TotalVariation(), LIST, r"domain=\(ny, nx\)"),
        (em.Unimodal(), ON_IMAGE, "give it for the spectra instead"),
        (em.Monotone("falling"), ON_LINE, 'allowed: "decreasing", "increasing"'),
        (em.Unimodal([7]), ON_LINE, "names component 7, but the 3 components are counted from 0 to 2"),
        (em.PowerLaws(ENERGY[:5]), ON_LINE, "energy of each of 12 channels"),
        (em.PowerLaws(ENERGY - 100), ON_LINE, "cropping the data"),
        (em.ZeroOutside(400, 500), ON_LINE, "channels, not as energies"),
        (em.ZeroOutside(1), ON_IMAGE, "give it for the spectra instead"),
        (em.Absent(np.zeros((3, 11), bool)), ON_LINE, r"allowed: \(12, 3\) for maps or \(3, 12\)"),
        (em.Absent(np.zeros((20, 3), bool)), ON_IMAGE, r"allowed: \(5, 4, 3\)"),
        (em.Absent(np.ones((3, 12), bool)), ON_LINE, "leaves component 0 no place"),
        (em.Absent(np.zeros((3, 12))), ON_LINE, "True = must be zero"),
        (em.Known({3: REFERENCE}), ON_LINE, "names component 3"),
        (em.Known({0: REFERENCE[:9]}), ON_LINE, "9 values for 12 channels"),
        (em.Known({0: np.zeros(12)}), ON_LINE, "other than zero"),
        (em.SumToOne(0.0), ON_IMAGE, "above zero"),
        (em.MinimumVolume(delta=0), ON_LINE, "above zero"),
    ],
    ids=lambda value: "" if isinstance(value, Setting) else repr(value)[:40],
)  # fmt: skip
def test_nonsense_is_refused_before_the_first_sweep(penalty, setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        penalty.check((len(setting.grid.index), K), setting)


@pytest.mark.parametrize(
    ("maps", "spectra", "sentence"),
    [
        ([em.SumToOne(), em.Sparse()], [], "em.TotalVariation or em.Smooth instead"),
        ([em.SumToOne(), em.Free()], [], "use mode='scale'"),
        ([em.SumToOne(), em.Unimodal()], [], "em.Unimodal and the sum .* use mode='scale'"),
        ([em.SumToOne(mode="soft")], [], 'allowed: "hard", "scale"'),
        ([em.SumToOne(mode="scale"), em.Sparse()], [], "anew; leave one of them out"),
        ([em.SumToOne(mode="scale")], [em.Known({0: REFERENCE})], "use mode='hard'"),
        ([], [em.Known({K: REFERENCE})], f"names component {K}, but the {K} components"),
    ],
)
def test_penalties_in_conflict_are_refused_with_the_way_out(maps, spectra, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_together({"maps": maps, "spectra": spectra}, K)
    with pytest.raises(ValueError, match=sentence):
        em.NMF(K, maps=maps or None, spectra=spectra or None).fit(counts())


def test_a_negative_known_spectrum_needs_free():
    dip = REFERENCE - 2.0
    with pytest.raises(ValueError, match=r"needs em\.Free\(\)"):
        em.NMF(K, spectra=em.Known({0: dip})).fit(counts())
    nmf = em.NMF(K, spectra=[em.Free(), em.Known({0: dip})], random_state=0, n_starts=2).fit(
        counts()
    )
    np.testing.assert_array_equal(nmf.components_[0], dip)


# --- what users give ---------------------------------------------------------------------------------------


class Signal:
    """A signal as far as penalties look at it."""

    axes_manager = ()

    def __init__(self, data):
        self.data = data


def test_known_reads_signals_lists_and_what_json_makes_of_it():
    expected = em.Known({1: REFERENCE}).bounds((12, 2))
    again = {int(j): c for j, c in json.loads(json.dumps({1: REFERENCE.tolist()})).items()}
    for columns in ({1: Signal(REFERENCE)}, again, {"1": REFERENCE.tolist()}):
        np.testing.assert_array_equal(em.Known(columns).bounds((12, 2)), expected)
        assert em.Known(columns).fixes_scale(2).tolist() == [False, True]


def test_nan_in_a_known_spectrum_leaves_the_channel_free():
    partly = np.where(np.arange(12) < 6, REFERENCE, np.nan)
    nmf = em.NMF(K, spectra=em.Known({0: partly}), random_state=0, n_starts=2).fit(counts())
    np.testing.assert_array_equal(nmf.components_[0, :6], REFERENCE[:6])
    assert np.isfinite(nmf.components_).all() and (nmf.components_[0, 6:] > 0).any()


def test_a_known_spectrum_gives_its_map_in_its_own_unit():
    rng = np.random.default_rng(10)
    C, S = rng.dirichlet(np.full(2, 0.3), 60), np.stack([REFERENCE, REFERENCE[::-1] ** 2])
    nmf = em.NMF(2, spectra=em.Known({0: 3 * REFERENCE}), random_state=0, tol=1e-9).fit(C @ S)
    np.testing.assert_allclose(nmf.maps_[:, 0], C[:, 0] / 3, atol=5e-3)


def test_minimum_volume_comes_closer_to_the_truth_where_no_pixel_is_pure():
    phantom = em.synthetic.mixed_phases(shape=(24, 24), channels=96, pure=False, dose=300, seed=1)
    angles = []
    for penalty in (None, em.MinimumVolume()):
        found = em.NMF(4, spectra=penalty, n_starts=3, random_state=0).fit(phantom.data).components_
        found = found[em.match_components(found, phantom.spectra)]
        angles.append(np.mean(em.spectral_angle(found, phantom.spectra)))
    assert angles[1] < 0.5 * angles[0]


@pytest.mark.parametrize("weight", [-0.1, np.nan, np.inf, "strong", None])
@pytest.mark.parametrize("penalty", [em.Ridge, em.Sparse, em.Smooth, em.TotalVariation])
def test_a_weight_that_is_no_strength_is_refused_before_the_fit(penalty, weight):
    with pytest.raises(ValueError, match=f"em.{penalty.__name__} on the maps must be a number"):
        em.NMF(2, maps=penalty(weight)).fit(np.ones((4, 5, 6)))
