"""Scores of chance, with which a direction is compared: of sides exchanged at random, and of random directions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.concepts.directions import Split, principal
from actkit.analysis.concepts.logistic_direction import exchanged
from actkit.analysis.concepts.paired import Paired

EXCHANGES = {"mean-diff": 200, "pca": 200, "logistic": 100}
"""Method → number of refits with positive and negative exchanged at random."""
EXCHANGED_STRENGTH = 1e-2
"""Inverse regularisation of those refits. Cross-validation chooses this or less for nearly all exchanged sides, with
the same band; the strength that it chooses for the real sides would make the band too narrow."""
RANDOM_DIRECTIONS = 200
BAND = (2.5, 97.5)
AT_ONCE, FEWEST = 1 << 19, 16
"""Projections of test pairs in memory (4 MB), and directions of one pass over very many pairs, which take more."""


@dataclass(frozen=True)
class Exchanges:
    """The stems whose sides are exchanged in each of `count` draws."""

    count: int
    bits: npt.NDArray[np.uint8]
    """[count / 8, n_stems] one bit a draw: 1 where the sides stay."""
    of_pair: Ints
    """[n_pairs] the column of each pair's stem."""

    @classmethod
    def drawn(cls, stems: Ints, count: int, seed: int) -> "Exchanges":
        """Draw exchanges for pairs of these stems [n_pairs]; each stem is exchanged with a chance of one half."""
        rng = np.random.default_rng((seed, 1))
        names, of_pair = np.unique(stems, return_inverse=True)
        bits = np.zeros((-(-count // 8), len(names)), dtype=np.uint8)
        for number in range(count):
            bits[number // 8] |= (rng.choice([-1, 1], size=len(names)) > 0).astype(np.uint8) << (7 - number % 8)
        return cls(count, bits, of_pair)

    def kept(self, here: slice, some: slice = slice(None)) -> Bools:
        """[k, m] whether the sides of some pairs stay as they are in some draws."""
        first, last, _ = some.indices(self.count)
        bits = np.unpackbits(self.bits[first // 8 : -(-last // 8), self.of_pair[here]], axis=0)
        found: Bools = bits[first % 8 : first % 8 + last - first].T > 0
        return found

    def where(self, part: Bools) -> "Exchanges":
        """The draws for those of the pairs that are True in `part` [n_pairs]."""
        return Exchanges(self.count, self.bits, self.of_pair[part])


def exchanged_band(method: str, pairs: Paired, split: Split, seed: int) -> tuple[float, float]:
    """Return the middle 95 % of held-out AUROCs of directions refitted with the sides exchanged at random.

    If the two sides meant nothing, exchanging them would change nothing, neither for training nor for test pairs. Pairs
    of a stem resemble each other, so whole stems are exchanged, on both sides of the split. If the test pairs stayed as
    they are, a real shift would widen the band: every refit of `pca` finds it, and has an AUROC near 1 or near 0.
    """
    exchanges = Exchanges.drawn(pairs.stems, EXCHANGES[method], seed)
    units = _refitted(method, pairs.where(split.train), exchanges.where(split.train))
    test, of_test = pairs.where(split.test), exchanges.where(split.test)
    values = []
    for some in _some(EXCHANGES[method], len(test.stems)):
        sides, kept = test.projected(units[some].T), of_test.kept(slice(None), some)
        values.append(aurocs(np.where(kept, *sides), np.where(kept, *sides[::-1])))
    return _band(np.concatenate(values))


def random_band(pairs: Paired, split: Split, seed: int) -> tuple[float, float]:
    """Return the middle 95 % of held-out AUROCs of random Gaussian directions, not folded: as often below 0.5 as above.

    The band is wide where most directions tell the sides apart; that the found direction does then says little.
    """
    test = pairs.where(split.test)
    noise = np.random.default_rng((seed, 2)).normal(size=(pairs.d_model, RANDOM_DIRECTIONS))
    ranges = _some(RANDOM_DIRECTIONS, len(test.stems))
    return _band(np.concatenate([aurocs(*test.projected(noise[:, some])) for some in ranges]))


def aurocs(above: Floats, below: Floats) -> Floats:
    """[m] AUROCs of the two sides' projections on m directions, [n_pairs, m] each; ties count half."""
    n, found = len(above), np.empty(above.shape[1])
    for number in range(len(found)):
        high, low = np.sort(above[:, number]), np.sort(below[:, number])
        wins = np.searchsorted(low, high).sum() + np.searchsorted(low, high, side="right").sum()
        found[number] = wins / (2 * n * n)
    return found


def _some(count: int, n: int) -> Iterator[slice]:
    """Yield ranges of `count` directions, on each of which n pairs have no more than AT_ONCE projections.

    A range has FEWEST directions even so, since each range takes a pass over the pairs.
    """
    step = max(AT_ONCE // max(2 * n, 1), FEWEST)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _refitted(method: str, train: Paired, exchanges: Exchanges) -> Floats:
    """[m, d_model] directions fitted to training pairs with their sides exchanged."""
    if method == "logistic":
        return exchanged(train, exchanges.kept, exchanges.count, EXCHANGED_STRENGTH)
    # Exchanging sides can change the sign of the singular vector, and nothing else.
    unit = principal(train).unit if method == "pca" else None
    total = np.zeros((exchanges.count, train.d_model if unit is None else 1))
    for here, difference in train.differences():
        signed = difference if unit is None else difference @ unit[:, None]
        total += np.where(exchanges.kept(here), 1.0, -1.0).T @ signed
    return total if unit is None else np.sign(total) * unit


def _band(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, BAND)
    return float(low), float(high)
