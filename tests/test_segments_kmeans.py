"""The choice of k by its rule, and who is in no cluster."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score

from offline.segments import kmeans

Floats = NDArray[np.float64]

FIVE = np.array([[-2, 2, 2], [-2, -1, -1], [0, 0.5, 0.5], [2, -2, -2], [2, 2, 2]], float)


def blobs(centres: Floats, n: int, spread: float, seed: int = 3) -> Floats:
    rng = np.random.default_rng(seed)
    return centres[rng.integers(0, len(centres), n)] + rng.normal(0, spread, (n, 3))


def counted(function: Callable[..., Any], sizes: Counter[int]) -> Callable[..., Any]:
    """The same function, which counts its calls by the rows it is given."""

    def call(rows: Floats, *rest: Any) -> Any:
        sizes[len(rows)] += 1
        return function(rows, *rest)

    return call


def table(*rows: tuple[int, float, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["k", "smallest", "ari", "silhouette"]).set_index("k")
    return frame.assign(passes=(frame.smallest >= 0.03) & (frame.ari >= 0.85))


# ---- k ---------------------------------------------------------------------------------------------------------------


def test_clear_clusters_are_found_and_the_reason_is_told() -> None:
    z = blobs(FIVE, 1_000, 0.15)
    choice = kmeans.choose_k(z)
    assert choice.k == 5
    assert choice.table.index.tolist() == [3, 4, 5, 6, 7, 8]
    assert choice.table.passes[5]
    assert choice.table.ari[5] == pytest.approx(1)
    nearest = np.abs(choice.centres[:, None] - FIVE).max(axis=2)
    assert sorted(nearest.argmin(axis=1)) == [0, 1, 2, 3, 4]
    assert nearest.min(axis=1).max() < 0.1
    assert (np.diff(choice.centres[:, 2]) <= 0).all()
    assert "k = 5 has the best silhouette" in choice.reason
    for part in ("1,000 customers", "20 fits on 1,000", "smallest", "ari", "silhouette", choice.reason):
        assert part in str(choice)


def test_the_figures_are_those_of_their_definitions() -> None:
    z = blobs(FIVE, 600, 0.6)
    choice = kmeans.choose_k(z, seed=2)
    labels = ((z[:, None] - choice.centres) ** 2).sum(axis=2).argmin(axis=1)
    row = choice.table.loc[choice.k]
    assert row.smallest == np.bincount(labels).min() / len(z)
    assert row.silhouette == pytest.approx(silhouette_score(z, labels))
    assert row.inertia == pytest.approx(((z - choice.centres[labels]) ** 2).sum())


def test_a_second_run_gives_the_same_bits_and_rows_may_be_of_any_layout() -> None:
    z = blobs(FIVE, 400, 0.8)
    one, other = kmeans.choose_k(z), kmeans.choose_k(np.asfortranarray(z))
    assert one.k == other.k
    assert one.centres.tobytes() == other.centres.tobytes()
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)


def test_samples_are_bounded_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    z = blobs(FIVE, 23_570, 0.3)
    fitted, judged = Counter[int](), Counter[int]()
    monkeypatch.setattr(kmeans, "_fit", counted(kmeans._fit, fitted))
    monkeypatch.setattr(kmeans, "silhouette_score", counted(silhouette_score, judged))
    choice = kmeans.choose_k(z)
    assert (fitted, judged) == ({23_570: 6, 10_000: 6 * 20}, {5_000: 6})
    assert "of 23,570 customers: silhouette on 5,000 (seed 0), ARI over all after 20 fits on 10,000" in str(choice)
    assert choice.k == 5


def test_unstable_clusters_are_seen() -> None:
    """One round cloud can be cut anywhere: the bar on ARI must not let many cuts pass."""
    choice = kmeans.choose_k(np.random.default_rng(0).normal(size=(300, 3)))
    assert (choice.table.ari < kmeans.STABLE).sum() >= 4


def test_few_different_customers() -> None:
    z = np.repeat(np.eye(3)[[0, 1, 2, 0, 1]] * [[1], [1], [1], [3], [4]], [30, 10, 10, 9, 9], axis=0)
    choice = kmeans.choose_k(z)
    assert choice.table.index.tolist() == [3, 4]
    with pytest.raises(
        ValueError, match="different customers by the features: 3; at least 4 are needed for 3 clusters"
    ):
        kmeans.choose_k(z[:50])


@pytest.mark.parametrize("z", [np.zeros((5, 0)), np.zeros(5), [[np.nan, 1, 2]], [[np.inf, 1, 2]]])
def test_features_must_be_a_finite_matrix(z: Floats) -> None:
    with pytest.raises(ValueError, match="finite matrix of at least one column"):
        kmeans.choose_k(z)


@pytest.mark.parametrize(
    ("rows", "k", "said"),
    [
        ([(3, 0.2, 0.9, 0.48), (4, 0.1, 0.9, 0.40), (5, 0.1, 0.9, 0.41)], 3, "no larger k is within 0.03"),
        ([(3, 0.2, 0.9, 0.42), (4, 0.1, 0.9, 0.40), (5, 0.1, 0.9, 0.41)], 5, "largest whose silhouette (0.410)"),
        ([(3, 0.2, 0.9, 0.42), (4, 0.1, 0.9, 0.40), (5, 0.1, 0.8, 0.41)], 4, "of the best (0.420, k = 3)"),
        ([(3, 0.2, 0.9, 0.30), (4, 0.1, 0.9, 0.40), (5, 0.02, 0.9, 0.5)], 4, "k = 3, 4 pass both bars"),
        ([(3, 0.2, 0.8, 0.9), (4, 0.1, 0.85, 0.1), (5, 0.02, 0.9, 0.5)], 4, "k = 4 is the only one"),
        ([(3, 0.2, 0.7, 0.9), (4, 0.1, 0.8, 0.1), (5, 0.02, 0.9, 0.5)], 4, "WARNING: no k passes"),
        ([(3, 0.01, 0.7, 0.9), (4, 0.02, 0.8, 0.1)], 4, "best ARI of all (0.80)"),
    ],
)
def test_which_rule_decides(rows: list[tuple[int, float, float, float]], k: int, said: str) -> None:
    chosen, reason = kmeans.decide(table(*rows))
    assert chosen == k
    assert said in reason
    assert "\n" not in reason


# ---- outliers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "far",
    [
        [[90.0, 0, 0], [0, 90, 0], [0, 0, 90], [-90, -90, 0]],  # four whales, each for itself
        [[60.0, 60, 60]] * 3,  # three together
        [[400.0, 0, 0], [401, 0, 0], [0, -5000, 0], [0, 0, 30000]],  # the farther hide the nearer
    ],
)
def test_who_stands_alone_is_set_aside_and_nobody_else(far: list[list[float]]) -> None:
    """Of 300 customers in three clouds; without it every k spends its clusters on the few."""
    z = np.vstack([blobs(FIVE[:3] * 3, 300, 0.4), far])
    found = kmeans.outliers(z)
    assert np.flatnonzero(found).tolist() == [*range(300, 300 + len(far))]
    assert kmeans.choose_k(z).table.smallest.max() < 0.02
    assert kmeans.choose_k(z[~found]).k == 3


def test_small_clusters_are_clusters_and_a_scattered_few_are_how_things_are() -> None:
    z = np.vstack([blobs(FIVE[:3] * 3, 300, 0.4), blobs(FIVE[4:] * 9, 5, 0.1)])
    assert not kmeans.outliers(z).any()  # 5 are a cluster
    alone = 1000.0 * np.eye(3)[[0, 1, 2, 0, 1]] * np.arange(1, 6)[:, None]
    assert not kmeans.outliers(np.vstack([blobs(FIVE[:3], 30, 0.2), alone])).any()  # 1 in 7 is no outlier
    assert not kmeans.outliers(blobs(FIVE, 40, 0.2)).any()


def test_no_k_with_a_cluster_of_a_few_is_chosen_while_there_is_another() -> None:
    rows = [(3, 0.02, 0.6, 0.5), (4, 0.002, 0.7, 0.6), (5, 0.001, 0.99, 0.6)]
    k, reason = kmeans.decide(table(*rows))
    assert k == 3
    assert "k = 3 has the best ARI of those without a cluster under 1% (0.60)" in reason
    assert kmeans.decide(table(*rows), 0.05)[0] == 5  # none is large enough: all are asked


def test_of_few_customers_three_percent_are_too_few() -> None:
    """Mutation caught: 2 of 60 are 3 %, and a cluster."""
    far = 40.0 * np.array([[1, 0, 0], [1, 0.01, 0], [0, 1, 0], [0, 1, 0.01]])
    z = np.vstack([blobs(FIVE[:3] * 3, 56, 0.4), far])
    choice = kmeans.choose_k(z)
    sizes = (choice.table.smallest * len(z)).round()
    assert not choice.table.passes[sizes < 5].any()
    assert kmeans.decide(table((3, 0.09, 0.5, 0.4), (4, 0.04, 0.84, 0.9)), 5 / 60)[0] == 3


def test_the_least_that_is_a_cluster() -> None:
    assert [kmeans.floor(n) for n in (100, 500, 100_000)] == [0.05, 0.01, 0.01]


def test_a_k_that_was_asked_for_is_kept_and_warned_of() -> None:
    z = np.vstack([blobs(FIVE[:2], 100, 0.2), [[99.0, 0, 0], [99.0, 0, 1]]])
    assert kmeans.choose_k(z, clusters=3).reason == (
        "k = 3 was asked for; WARNING: its smallest cluster has 2 customers"
    )
