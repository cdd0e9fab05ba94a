"""Customer value: published parameters and expectations, plain oracles, extreme inputs, and the command's own words."""

import re
from importlib import metadata
from pathlib import Path

import jobs
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from refusal import one_line
from scipy.integrate import quad
from scipy.special import hyp2f1
from scipy.stats import beta, gamma

from models.kinds import PURCHASE, RETURN, VIEW
from models.rows import DAY
from offline.__main__ import main
from offline.demand import buytilldie, metrics
from offline.demand.buytilldie import BuyTillDie, ValueModelError
from offline.history.read import read
from offline.value import gammagamma, paiddays, value
from offline.value.gammagamma import GammaGamma
from offline.value.paiddays import PaidDays

ROOT = Path(__file__).parent.parent
PUBLISHED = BuyTillDie(0.2426, 4.4136, 0.7929, 2.4259)
CUT = int(np.datetime64("1997-10-01", "D").astype(int))


def shipped(name: str) -> Path:
    return Path(str(next(f for f in metadata.files("lifetimes") or () if f.name == name).locate()))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CDNOW's published 1/10 sample as a history, by the recipe of docs/value.md."""
    path = tmp_path_factory.mktemp("cdnow") / "cdnow_sample.csv"
    rows = [line.split() for line in shipped("CDNOW_sample.txt").read_text().splitlines()]
    path.write_text("customer_id,occurred_at,amount\n" + "".join(f"{r[1]},{r[2]},{r[4]}\n" for r in rows))
    return path


@pytest.fixture(scope="module")
def frame(sample: Path) -> pd.DataFrame:
    return read([sample], {}).frame


@pytest.fixture(scope="module")
def published(frame: pd.DataFrame) -> pd.DataFrame:
    return value.summary(frame, CUT)


@pytest.fixture(scope="module")
def fitted(published: pd.DataFrame) -> value.Fitted:
    return value.fit(published)


# ---- what was published ----------------------------------------------------------------------------------------------


def test_the_summary_is_the_published_one(published: pd.DataFrame) -> None:
    theirs = pd.read_csv(shipped("cdnow_customers_summary_with_transactions.csv"))
    assert published["frequency"].tolist() == theirs["x"].tolist()
    np.testing.assert_allclose(published["recency"] / 7, theirs["t_x"], atol=0.006)
    np.testing.assert_allclose(published["T"] / 7, theirs["T"], atol=0.006)
    np.testing.assert_allclose(published["monetary_value"], theirs["zbar"], atol=0.006)


def test_published_parameters(published: pd.DataFrame, fitted: value.Fitted) -> None:
    """In weeks: FHL 2005, table 2; Fader, Hardie 2013, section 4; MBG/NBD as the tests of `lifetimes` have it."""
    bg, mbg, spend = fitted.buying["bg_nbd"], fitted.buying["mbg_nbd"], fitted.spend
    assert [bg.r, bg.alpha / 7, bg.a, bg.b] == pytest.approx([0.2426, 4.4136, 0.7929, 2.4259], rel=5e-4)
    assert [mbg.r, mbg.alpha / 7, mbg.a, mbg.b] == pytest.approx([0.525, 6.183, 0.891, 1.614], rel=1e-3)
    assert [spend.p, spend.q, spend.v] == pytest.approx([6.25, 3.74, 15.44], rel=2e-3)
    assert int((published["paid_days"] > 0).sum()) == 946
    weeks = [published[name] / unit for name, unit in (("frequency", 1), ("recency", 7), ("T", 7))]
    assert PUBLISHED.log_likelihood(*weeks).sum() == pytest.approx(-9582.43, abs=0.02)


def test_published_expectations(frame: pd.DataFrame, published: pd.DataFrame, fitted: value.Fitted) -> None:
    """FHL 2005, sec. 5: 1.226 for one customer; 39 weeks of holdout: 1,882 repeats, of which the model tells 1,653."""
    assert PUBLISHED.expected_orders([39], [2], [30.43], [38.86])[0, 0] == pytest.approx(1.226, abs=5e-4)
    who = [published[name] for name in ("frequency", "recency", "T")]
    assert fitted.buying["bg_nbd"].expected_orders([273], *who).sum() == pytest.approx(1653, abs=1)
    later = frame[frame["occurred_at"] >= CUT * DAY]
    assert len(later[["customer_id", "occurred_at"]].drop_duplicates()) == 1882


# ---- plain oracles ---------------------------------------------------------------------------------------------------

MODELS = st.builds(
    BuyTillDie, st.floats(0.1, 5), st.floats(0.5, 50), st.floats(0.2, 5), st.floats(0.2, 20), st.integers(0, 1)
)


@st.composite
def customers(draw: st.DrawFn, most: int = 30, longest: float = 200.0) -> tuple[int, float, float]:
    x = draw(st.integers(0, most))
    observed = draw(st.floats(1.0, longest))
    return x, observed * draw(st.floats(0, 1)) if x else 0.0, observed


@given(MODELS, customers(), st.floats(0.1, 100))
def test_expected_orders_are_the_papers_closed_form(m: BuyTillDie, who: tuple[int, float, float], t: float) -> None:
    """FHL eq. 10; Batislam et al. (2007): b + x becomes b + x + 1."""
    (x, t_x, observed), tries = who, who[0] + m.chances
    if abs(m.a - 1) < 1e-3 or abs(c := m.a + m.b + tries - 1) < 1e-3:
        return  # poles of the closed form, not of the expectation
    z = t / (m.alpha + observed + t)
    inner = 1 - (1 - z) ** (m.r + x) * hyp2f1(m.r + x, m.b + tries, c, z)
    dead = (m.a / (m.b + tries - 1)) * ((m.alpha + observed) / (m.alpha + t_x)) ** (m.r + x) if tries else 0.0
    want = c / (m.a - 1) * inner / (1 + dead)
    assert m.expected_orders([t], [x], [t_x], [observed])[0, 0] == pytest.approx(want, rel=1e-5, abs=1e-9)
    assert m.p_alive([x], [t_x], [observed])[0] == pytest.approx(1 / (1 + dead), rel=1e-9)


@pytest.mark.parametrize("chances", [0, 1])
@pytest.mark.parametrize(("x", "t_x"), [(0, 0.0), (1, 2.0), (3, 9.0)])
def test_the_likelihood_is_that_of_the_story(chances: int, x: int, t_x: float) -> None:
    """Averaged over everybody's rate and dropout: still alive at T, or dropped out at the last purchase."""
    m, observed, places = BuyTillDie(1.2, 5.0, 1.5, 2.5, chances), 10.0, (np.arange(1500) + 0.5) / 1500
    p, rate = beta.ppf(places, m.a, m.b)[:, None], gamma.ppf(places, m.r, scale=1 / m.alpha)
    alive = (1 - p) ** (x + chances) * np.exp(-rate * observed)
    left = p * (1 - p) ** (x + chances - 1) * np.exp(-rate * t_x) if x + chances else 0.0
    want = (rate**x * (alive + left)).mean()
    assert np.exp(m.log_likelihood([x], [t_x], [observed]))[0] == pytest.approx(want, rel=2e-3)


@pytest.mark.parametrize("x", [1, 3])
def test_gamma_gamma_is_that_of_the_story(x: int) -> None:
    """The mean of x gamma days whose rate is gamma: its density, and what that tells of the next day."""
    m, seen = GammaGamma(6.25, 3.74, 15.44), 40.0

    def density(rate: float, mean: float) -> float:
        return float(gamma.pdf(mean, m.p * x, scale=1 / (rate * x)) * gamma.pdf(rate, m.q, scale=1 / m.v))

    total = quad(lambda rate: density(rate, seen), 0, 3)[0]
    assert np.exp(m.log_likelihood([x], [seen]))[0] == pytest.approx(total, rel=1e-6)
    next_day = quad(lambda rate: m.p / rate * density(rate, seen), 1e-9, 3)[0] / total
    assert m.expected_spend([x], [seen])[0] == pytest.approx(next_day, rel=1e-6)
    assert m.expected_spend([0], [0.0])[0] == m.mean_spend == pytest.approx(6.25 * 15.44 / 2.74)


def simulated(m: BuyTillDie, n: int, longest: float, seed: int = 0) -> tuple[list[int], list[float], list[float]]:
    """The story, told customer by customer."""
    rng = np.random.default_rng(seed)
    rates, dropouts = rng.gamma(m.r, 1 / m.alpha, n), rng.beta(m.a, m.b, n)
    observed = rng.uniform(longest / 2, longest, n).tolist()
    xs, lasts = [], []
    for rate, p, end in zip(rates.tolist(), dropouts.tolist(), observed, strict=True):
        x, last = 0, 0.0
        alive = not (m.chances and rng.random() < p)
        while alive and (now := last + rng.exponential(1 / rate)) <= end:
            x, last, alive = x + 1, now, rng.random() >= p
        xs.append(x)
        lasts.append(last)
    return xs, lasts, observed


@pytest.mark.parametrize("chances", [0, 1])
def test_a_simulated_population_gives_its_parameters_back(chances: int) -> None:
    truth = BuyTillDie(0.8, 10.0, 1.2, 3.0, chances)
    x, t_x, observed = simulated(truth, 6000, 200.0)
    found = buytilldie.fit(x, t_x, observed, chances)
    assert [found.r, found.alpha, found.mean_dropout] == pytest.approx([0.8, 10.0, 1.2 / 4.2], rel=0.12)
    loss = [-m.log_likelihood(x, t_x, observed).sum() for m in (found, truth)]
    assert loss[0] <= loss[1]


def test_simulated_spend_gives_its_parameters_back() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 8, 6000)
    mean = rng.gamma(6.0 * np.maximum(x, 1), 1 / (rng.gamma(4.0, 1 / 15.0, 6000) * np.maximum(x, 1)))
    found = gammagamma.fit(x, np.where(x > 0, mean, 0.0))
    assert [found.p, found.q, found.v] == pytest.approx([6.0, 4.0, 15.0], rel=0.15)


# ---- whatever comes in -----------------------------------------------------------------------------------------------

ANY = st.floats(buytilldie.LOWEST, buytilldie.HIGHEST)


@given(st.builds(BuyTillDie, ANY, st.floats(1e-4, 1e8), ANY, ANY, st.integers(0, 1)), customers(100_000, 1e6))
def test_nothing_is_ever_beyond_its_bounds(m: BuyTillDie, who: tuple[int, float, float]) -> None:
    x, t_x, observed = ([column] for column in who)
    orders = m.expected_orders([0.0, 1.0, 30.0, 365.0, 1e6], x, t_x, observed)[0]
    assert np.isfinite(orders).all()
    assert orders[0] == 0
    assert (np.diff(orders) >= -1e-9 * orders[1:]).all()
    assert (orders <= (m.r + who[0]) / (m.alpha + who[2]) * np.array([0.0, 1.0, 30.0, 365.0, 1e6]) * (1 + 1e-9)).all()
    assert 0 <= m.p_alive(x, t_x, observed)[0] <= 1
    assert np.isfinite(m.log_likelihood(x, t_x, observed)).all()


@given(MODELS, st.integers(1, 50), st.floats(0, 100), st.floats(0, 100), st.floats(0.5, 100))
def test_silence_makes_a_repeat_buyer_less_alive(m: BuyTillDie, x: int, t_x: float, gap: float, more: float) -> None:
    p = m.p_alive([x, x], [t_x, t_x], [t_x + gap, t_x + gap + more])
    assert p[1] < p[0] or p[1] < 1e-12


@given(MODELS, st.floats(1, 1000))
def test_only_mbg_nbd_doubts_who_never_came_back(m: BuyTillDie, observed: float) -> None:
    alive = m.p_alive([0], [0.0], [observed])[0]
    assert (alive == 1.0) == (m.chances == 0)


@pytest.mark.parametrize(
    ("x", "t_x", "observed"),
    [
        ([1, 1], [1.0, 1.0], [1.0, 1.0]),
        ([5, 5, 5], [10.0] * 3, [30.0] * 3),
        ([10_000, 1], [25_000.0, 1.0], [25_000.0, 25_000.0]),
        ([1, 2, *[0] * 1000], [300.0, 10.0, *[0.0] * 1000], [400.0] * 1002),
    ],
)
@pytest.mark.parametrize("chances", [0, 1])
def test_a_fit_of_degenerate_customers_is_finite(
    x: list[int], t_x: list[float], observed: list[float], chances: int
) -> None:
    m = buytilldie.fit(x, t_x, observed, chances)
    limits = np.array([buytilldie.LOWEST, buytilldie.HIGHEST]) * [0.999, 1.001]
    for parameter in (m.r, m.alpha / max(observed), m.a, m.b):
        assert limits[0] <= parameter <= limits[1]
    assert np.isfinite(m.expected_orders([365], x, t_x, observed)).all()


@pytest.mark.parametrize("spend", [[5.0, 5.0, 5.0], [1e-4, 1e9], [3.0, 3.0 + 1e-12]])
def test_a_fit_of_degenerate_spend_is_finite(spend: list[float]) -> None:
    m = gammagamma.fit([1] * len(spend), spend)
    assert m.q >= 1.05  # so that nobody is worth more than 20 times what is usual
    assert np.isfinite([m.p, m.v, m.mean_spend]).all()
    assert np.isfinite(m.expected_spend([0, 1], [0.0, spend[0]])).all()
    if spend[0] == 5.0:
        assert m.expected_spend([0, 1], [0.0, 5.0]) == pytest.approx([5.0, 5.0], rel=0.01)


def test_who_never_came_back_allows_no_fit() -> None:
    with pytest.raises(ValueModelError, match="bought on a second day: 1 of 3; at least 2 are needed"):
        buytilldie.fit([1, 0, 0], [3.0, 0.0, 0.0], [9.0, 9.0, 9.0])
    with pytest.raises(ValueModelError, match="paid more than they returned: 1; at least 2"):
        gammagamma.fit([2, 0], [7.0, 0.0])


# ---- summary and value -----------------------------------------------------------------------------------------------


def history(*events: tuple[str, float, int, float]) -> pd.DataFrame:
    """A history frame of (customer, day, kind, amount), in the order of time."""
    rows = sorted(events, key=lambda event: event[1])
    names = [f"e{i}" for i in range(len(rows))]
    return pd.DataFrame(
        {
            "event_id": pd.Series(names, dtype="str"),
            "kind": np.array([kind for _, _, kind, _ in rows], np.int8),
            "customer_id": pd.Series([who for who, *_ in rows], dtype="str"),
            "occurred_at": np.array([round(day * DAY) for _, day, *_ in rows], np.int64),
            "order_id": pd.Series(names, dtype="str"),
            "product_id": pd.Series([None] * len(rows), dtype="str"),
            "amount": np.array([round(amount * 10_000) for *_, amount in rows], np.int64),
        }
    )


def test_a_return_counts_against_the_purchase_day_before_it() -> None:
    frame = history(
        *[("a", 9, RETURN, -3.0), ("a", 10, PURCHASE, 20.0), ("a", 12, PURCHASE, 8.0), ("a", 12.5, PURCHASE, 2.0)],
        *[("a", 15, RETURN, -4.0), ("a", 20, PURCHASE, 5.0), ("a", 30, RETURN, -5.0), ("a", 40, PURCHASE, 9.0)],
        *[("b", 11, VIEW, 0.0), ("c", 13, PURCHASE, 7.0), ("d", 50, PURCHASE, 7.0), ("e", 14, RETURN, -1.0)],
    )
    table = value.summary(frame, 50)
    assert table.index.tolist() == ["a", "c"]
    assert table.loc[["a"]].iloc[0].tolist() == [3, 30, 39, 2, (6.0 + 9.0) / 2]
    assert table.loc[["c"]].iloc[0].tolist() == [0, 0, 36, 0, 0.0]


def test_a_return_of_more_than_the_last_day_takes_from_the_days_before_it() -> None:
    """Day 10 comes back on day 25, after a smaller one: nothing is left of 20, 5 of 10. Not a day below nothing."""
    frame = history(
        *[("a", 0, PURCHASE, 1.0), ("a", 10, PURCHASE, 30.0), ("a", 20, PURCHASE, 5.0), ("a", 25, RETURN, -30.0)],
        *[("b", 0, PURCHASE, 9.0), ("b", 5, PURCHASE, 1.0), ("b", 6, RETURN, -99.0), ("b", 9, PURCHASE, 4.0)],
    )
    table = value.summary(frame, 50)[["frequency", "paid_days", "monetary_value"]]
    assert table.loc[["a", "b"]].to_numpy().tolist() == [[2, 1, 5.0], [2, 1, 4.0]]


@pytest.mark.parametrize(
    ("refunds", "later", "free"),
    [(0.0, 0, 0.0), (0.3, 5, 0.0), (0.0, 0, 0.5), (0.3, 5, 0.5), (0.3, 30, 0.0), (0.5, 0, 0.0)],
    ids=["plain", "refunds 5 days later", "free orders", "both", "refunds 30 days later", "refunds at once"],
)
def test_days_that_bring_no_money_do_not_raise_the_value(refunds: float, later: float, free: float) -> None:
    """Held-out spend of a generated shop, to a tenth. The mean of paid days alone was 1.4 to 3 times too much."""
    frame, cut, window = unpaid_shop(refunds, later, free), 480, 240
    customers = value.summary(frame[frame["occurred_at"] < cut * DAY], cut)
    fitted, labels = value.fit(customers), value.spent(frame, customers.index, cut, window)
    for name in fitted.buying:
        assert fitted.value(name, customers, [window], [1.0]).sum() / labels.sum() == pytest.approx(1, abs=0.1)


def unpaid_shop(refunds: float, later: float, free: float) -> pd.DataFrame:
    """400 customers over 720 days, of gamma rates and beta dropout; shares of free orders, and of paid ones that come
    back whole so many days later."""
    rng, rows = np.random.default_rng(1), []
    for n in range(400):
        at, gap, spend = rng.uniform(0, 240), rng.gamma(2, 10) + 2, 50 * rng.lognormal(0, 0.3)
        dropout = rng.beta(1, 12)
        while at < 720:
            amount = 0.0 if rng.random() < free else spend * rng.lognormal(0, 0.5)
            rows.append((f"c{n}", at, PURCHASE, amount))
            rows += [(f"c{n}", at + later + 0.001, RETURN, -amount)] if amount and rng.random() < refunds else []
            at += 1000 if rng.random() < dropout else rng.exponential(gap)
    return history(*[row for row in rows if row[1] < 720])


def test_who_often_pays_nothing_is_worth_less() -> None:
    """200 customers of 10 days, of whom half pay on 2 and half on 9: between everybody's share and their own."""
    model = paiddays.fit([10] * 200, [2, 9] * 100)
    assert model.mean_share == pytest.approx(0.55, abs=0.02)
    few, many, unknown = model.share([10, 10, 0], [2, 9, 0])
    assert 0.2 < few < 0.3 < unknown < 0.8 < many < 0.9
    assert paiddays.fit([10] * 100, [9] * 90 + [2] * 10).mean_share == pytest.approx(0.83, abs=0.02)
    everybody = paiddays.fit([3, 1, 0], [3, 1, 0])
    assert everybody.share([0, 3], [0, 3]).tolist() == pytest.approx([1, 1], abs=1e-3)
    nobody = paiddays.fit([5, 5], [0, 0])
    assert nobody.share([5, 0], [0, 0]).tolist() == pytest.approx([0, 0], abs=1e-3)


EVENT = st.tuples(
    st.sampled_from("abc"), st.integers(0, 40), st.sampled_from([PURCHASE, RETURN, VIEW]), st.integers(0, 9)
)


@given(st.lists(EVENT, max_size=30), st.integers(1, 41))
def test_the_summary_is_what_a_plain_loop_counts(events: list[tuple[str, int, int, int]], day: int) -> None:
    signed = [(w, d, k, float(-v if k == RETURN else v if k == PURCHASE else 0)) for w, d, k, v in events]
    found = value.summary(history(*signed), day)
    plain: dict[str, dict[int, float]] = {}
    for who, at, kind, amount in sorted(signed, key=lambda event: event[1]):
        days = plain.get(who, {})
        if at < day and kind == PURCHASE:
            plain.setdefault(who, days)[at] = days.get(at, 0.0) + amount
        elif at < day and kind == RETURN and days:
            days[max(days)] += amount
    for days in plain.values():
        owed = 0.0
        for at in sorted(days, reverse=True):
            days[at], owed = max(0.0, days[at] + owed), min(0.0, days[at] + owed)
    assert found.index.tolist() == sorted(plain)
    for who, days in plain.items():
        paid = [net for at, net in days.items() if at > min(days) and net > 0]
        mean = pytest.approx(sum(paid) / len(paid)) if paid else 0.0
        assert found.loc[[who]].iloc[0].tolist() == [
            *(len(days) - 1, max(days) - min(days), day - 1 - min(days), len(paid), mean),
        ]


def test_a_month_is_discounted_from_its_end(published: pd.DataFrame, fitted: value.Fitted) -> None:
    few = published.head(20)
    table, free = value.values(fitted, few, 0.10), value.values(fitted, few, 0.0)
    for name, model in fitted.buying.items():
        who = (few["frequency"], few["recency"], few["T"])
        want, before = np.zeros(len(few)), np.zeros(len(few))
        for month in range(1, 13):
            orders = model.expected_orders([365 * month / 12], *who)[:, 0]
            want += (orders - before) * table["expected_mean_spend"] / 1.1 ** (month / 12)
            before = orders
        np.testing.assert_allclose(table[f"{name}_value_12m"], want)
        undiscounted = free[f"{name}_expected_orders_12m"] * free["expected_mean_spend"]
        np.testing.assert_allclose(free[f"{name}_value_12m"], undiscounted)


def test_warnings_say_what_does_not_hold() -> None:
    buying = {"bg_nbd": BuyTillDie(1, 1, 0.00099, 1), "mbg_nbd": BuyTillDie(1, 1, 0.0011, 1, 1)}
    spend, paid = GammaGamma(6.0, 4.0, 15.0), PaidDays(9.0, 1.0)
    assert value.Fitted({"mbg_nbd": buying["mbg_nbd"]}, spend, paid, 0.1).warnings() == []
    no_dropout, dependent = value.Fitted(buying, spend, paid, -0.11).warnings()
    assert no_dropout.startswith("bg_nbd: no dropout identifiable")
    assert "|Spearman(frequency, mean spend)| is 0.110, above 0.1" in dependent


@pytest.mark.parametrize(("frequency", "correlation"), [([1, 2, 3, 4], 1.0), ([2, 2, 2, 2], 0.0)])
def test_who_never_paid_says_nothing_of_what_a_day_is_worth(frequency: list[int], correlation: float) -> None:
    """Mutations caught: their nothing correlated too; no correlation, where all came equally often, left as none."""
    customers = pd.DataFrame({"frequency": [*frequency, 9, 9, 9], "recency": 50, "T": 60})
    customers["paid_days"], customers["monetary_value"] = [*frequency, 0, 0, 0], [4.0, 5.0, 6.0, 7.0, 0.0, 0.0, 0.0]
    assert value.fit(customers).correlation == pytest.approx(correlation)


@pytest.mark.parametrize(("a", "b", "told"), [(2_799.3, 0.0011, True), (9_999.0, 9.0, True), (99.0, 1.0, False)])
@pytest.mark.parametrize("chances", [0, 1])
def test_a_fit_by_which_nobody_stays_is_warned_of(a: float, b: float, told: bool, chances: int) -> None:
    """A shop of three weeks: who bought twice was worth 0.00, who bought once 12.00, and nothing was said."""
    model = BuyTillDie(1, 10, a, b, chances)
    fitted = value.Fitted({"bg_nbd": model}, GammaGamma(6.0, 4.0, 15.0), PaidDays(9.0, 1.0), 0.0)
    assert [line.startswith("bg_nbd: everybody drops out at once (mean ") for line in fitted.warnings()] == [
        True
    ] * told
    if told:
        assert model.p_alive([1 - chances], [3], [9])[0] < 0.01


# ---- the judgement ---------------------------------------------------------------------------------------------------


def shop(n: int = 40, end: int = 240) -> pd.DataFrame:
    return history(
        *[(f"c{i}", day, PURCHASE, 4.0 + i * day % 9) for i in range(n) for day in range(i % 13, end, 7 + 9 * (i % 5))]
    )


def test_windows_are_a_third_and_end_at_the_end_and_half_a_window_before() -> None:
    frame = shop()
    assert value.windows(frame, 240) == (80, [160, 120])
    assert value.windows(frame, 89) == (29, [])
    assert value.windows(frame, 90) == (30, [60, 45])
    assert value.windows(frame, 5000) == (365, [])  # nothing was spent at the end
    late = history(*[(who, day, PURCHASE, 5.0) for who in "ab" for day in (0, 200, 220)])
    assert value.windows(late, 240) == (80, [])  # nobody came back before the cuts
    two = history(*[(who, day, PURCHASE, 5.0) for who in "ab" for day in (0, 50, 199)])
    assert value.windows(two, 240) == (80, [160, 120])
    assert value.windows(two[two["event_id"] != "e2"], 240) == (80, [])


def test_what_comes_after_a_cut_is_judged_and_not_learned() -> None:
    """Ten times the spend within the window makes ten times the labels; what is not of the window changes nothing."""
    frame = shop()
    honest = value.judge(frame, [160], 80, 15, len)
    changed = frame.assign(amount=frame["amount"].where(frame["occurred_at"] < 160 * DAY, frame["amount"] * 10))
    others = history(("c1", 200, VIEW, 0.0), ("c2", 240, PURCHASE, 999.0), ("new", 170, PURCHASE, 9.0))
    judged = value.judge(pd.concat([changed, others]), [160], 80, 15, len)
    np.testing.assert_allclose(judged.figures["bias"] * 10, honest.figures["bias"])
    for name in ("bg_nbd", "mbg_nbd", "served"):
        assert judged.deciles[name, "predicted"].equals(honest.deciles[name, "predicted"])
        assert honest.figures["bias"][name] == pytest.approx(1, abs=0.35)  # of the window, not of horizon or year


def test_the_latest_window_is_shown_and_says_how_far_off_a_total_may_be() -> None:
    """Mutations caught: the deciles of the earliest window; the mean of both, beside the latest one's days."""
    both, latest = (value.judge(shop(), cuts, 80, 15, len) for cuts in ([160, 120], [160]))
    assert both.deciles.equals(latest.deciles)
    table, biases = pd.DataFrame({"customer_value": [60.0, 60.0]}), ({"served": (1.2,)}, {"served": (0.9,)})
    each = [pd.DataFrame(bias, index=["bias"]).T for bias in biases]
    fitted = value.Fitted({}, GammaGamma(6.0, 4.0, 15.0), PaidDays(9.0, 1.0), 0.0)
    told = value.Valued(fitted, table, value.Judged(80, [160, 120], each, latest.deciles), 0.1, 1.0).total
    assert told.startswith("120 in the next 12 months, 100 if it is as far off again (in the last 80 held-out days")


def test_labels_are_net_and_never_negative() -> None:
    frame = history(
        *[("a", 5, PURCHASE, 5.0), ("a", 10, PURCHASE, 5.0), ("a", 12, RETURN, -2.0), ("b", 10, RETURN, -2.0)],
        *[("a", 20, PURCHASE, 5.0), ("c", 10, PURCHASE, 5.0)],
    )
    assert value.spent(frame, pd.Index(["a", "b", "d"]), 10, 10).tolist() == [3.0, 0.0, 0.0]


def test_deciles_keep_equal_predictions_together() -> None:
    labels, predictions = np.arange(20.0), np.repeat([1.0, 2.0, 3.0, 4.0], 5)
    table = metrics.deciles(labels, {"model": predictions})["model"].dropna()
    assert table["predicted"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert table["actual"].tolist() == [2.0, 7.0, 12.0, 17.0]
    assert metrics.deciles(labels, {"model": labels})["model"]["actual"].tolist() == np.arange(0.5, 20, 2).tolist()


def judged(*cuts: dict[str, tuple[float, float]]) -> value.Judged:
    each = [pd.DataFrame(cut, index=["deviance", "ngini"]).T for cut in cuts]
    return value.Judged(80, list(range(len(cuts))), each, pd.DataFrame())


def test_the_verdict_says_which_is_better_by_how_much() -> None:
    first = {"bg_nbd": (8.0, 0.60), "mbg_nbd": (9.0, 0.71), "served": (10.0, 0.70)}
    second = {"bg_nbd": (9.0, 0.60), "mbg_nbd": (9.5, 0.65), "served": (8.0, 0.70)}
    third = {"bg_nbd": (8.0, 0.60), "mbg_nbd": (9.5, 0.68), "served": (10.0, 0.70)}
    assert judged(first, second, third).verdict() == [
        "deviance: bg_nbd is better than served by 10.7%, on 2 of 3 windows",
        "ngini: served is better than mbg_nbd by 0.020, on 2 of 3 windows",
    ]
    same = {"bg_nbd": (8.0, 0.5), "mbg_nbd": (9.96, 0.699), "served": (8.03, 0.70)}
    assert judged(same).verdict() == [
        "deviance: bg_nbd and served are as good as each other (they differ by 0.4%)",
        "ngini: mbg_nbd and served are as good as each other (they differ by 0.001)",
    ]


# ---- the command -----------------------------------------------------------------------------------------------------


def run(out: Path, hash_seed: str, *arguments: str) -> str:
    return jobs.alone("value", *arguments, "--out", out, hash_seed=hash_seed).replace(str(out), "value.csv")


@pytest.fixture(scope="module")
def printed(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("value") / "new" / "value.csv"
    return out, run(out, "0", "--history", str(sample))


def test_a_row_for_each_customer(printed: tuple[Path, str], frame: pd.DataFrame) -> None:
    table = pd.read_csv(printed[0], dtype={"customer_id": str}).set_index("customer_id")
    models = [
        f"{model}_{name}" for model in ("bg_nbd", "mbg_nbd") for name in ("p_alive", "expected_orders_12m", "value_12m")
    ]
    columns = ["frequency", "recency", "T", "monetary_value", "expected_mean_spend", *models, "customer_value"]
    assert table.columns.tolist() == columns
    assert table.index.tolist() == sorted(frame["customer_id"].unique())
    assert np.isfinite(table.to_numpy()).all()
    assert (table.to_numpy() >= 0).all()
    assert (table["bg_nbd_value_12m"] < table["bg_nbd_expected_orders_12m"] * table["expected_mean_spend"] + 0.01).all()


def test_a_second_run_leaves_the_same_bytes(sample: Path, printed: tuple[Path, str], tmp_path: Path) -> None:
    assert run(tmp_path / "value.csv", "1", "--history", str(sample)) == printed[1]
    assert (tmp_path / "value.csv").read_bytes() == printed[0].read_bytes()


def test_the_document_shows_what_is_printed(printed: tuple[Path, str]) -> None:
    """Word for word; numbers within 1 %, for another kind of CPU finds the optimum in other last bits."""
    shown = (ROOT / "docs" / "value.md").read_text().split("<!-- printed -->\n\n")[1].split("\n\n<!-- end -->")[0]
    ours, theirs = shown.split(), printed[1].split()
    assert len(ours) == len(theirs)
    for word, other in zip(ours, theirs, strict=True):
        if re.fullmatch(r"-?[\d.]+[,%]?", word):
            assert float(word.strip(",%")) == pytest.approx(float(other.strip(",%")), rel=0.01, abs=0.011), (
                word,
                other,
            )
        else:
            assert word == other


def refused(tmp_path: Path, text: str | bytes, *more: str) -> str:
    (tmp_path / "h.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    out = tmp_path / "out.csv"
    return one_line(out, "value", "--history", tmp_path / "h.csv", "--out", out, *more)


HEAD = "customer_id,occurred_at,amount\n"
MONTHLY = "".join(f"a,2024-0{month}-01,5\n" for month in range(1, 10))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        (HEAD, "no row can be used"),
        (HEAD + "a,2024-01-01,\nb,2024-02-01,NaN\n", "no row can be used (2 bad number)"),
        (HEAD + MONTHLY, "bought on a second day: 1 of 1; at least 2 are needed: give a longer history"),
        (HEAD + "a,2024-01-01,5\nb,2024-02-01,6\n", "bought on a second day: 0 of 2"),
        (HEAD + MONTHLY.replace(",5", ",0") + MONTHLY.replace("a,", "b,"), "paid more than they returned: 1;"),
        (
            HEAD.replace("amount", "event_type") + MONTHLY.replace(",5", ",view"),
            "nobody bought anything in this history",
        ),
        ("Customer,occurred_at,amount\n" + MONTHLY, "no column 'customer_id'; nearest is 'Customer'"),
    ],
)
def test_what_cannot_be_valued_is_one_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert said in refused(tmp_path, text)


def test_options_that_cannot_be(tmp_path: Path) -> None:
    for rate in ("nan", "inf", "-1"):
        assert "Invalid value for '--discount-rate'" in jobs.run("value", "--discount-rate", rate, code=2)
    (tmp_path / "taken").mkdir()
    line = refused(tmp_path, HEAD + MONTHLY, "--out", str(tmp_path / "taken"))
    assert f"--out {tmp_path / 'taken'}: is a directory" in line


def test_two_equal_customers_of_a_short_history_are_valued_and_not_judged(tmp_path: Path) -> None:
    days = [f"{who},2024-01-0{day},5\n" for day in range(1, 8) for who in "ab"]
    (tmp_path / "h.csv").write_text(HEAD + "".join(days))
    done = CliRunner().invoke(main, ["value", "--history", str(tmp_path / "h.csv"), "--out", str(tmp_path / "v.csv")])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "not judged: no third of the history has 30 days" in done.stdout
    table = pd.read_csv(tmp_path / "v.csv")
    assert np.isfinite(table.drop(columns="customer_id").to_numpy()).all()
    assert table["expected_mean_spend"].tolist() == pytest.approx([5.0, 5.0], rel=0.02)
