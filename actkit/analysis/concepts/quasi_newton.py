"""Minima of several convex functions at once, by L-BFGS (Nocedal 1980) with a Hessian where it pays.

1. One call gives values and gradients of all unfinished functions, which share one reading of the data.
2. Well-conditioned functions need no Hessian: where Hessians are expensive, the first round has none.
3. Every later round begins with new Hessians, and L-BFGS learns the changes since. Functions that are alike form a
   group with one Hessian, taken at the mean of their places.
4. A round has as many calls as cost what its Hessians do: together no more than twice the cost of the better way.

scipy and scikit-learn minimise one function at a time. Here some two hundred regressions, those of folds, halves and
exchanged sides, share each reading of data that are not in memory.
"""

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from actkit.analysis.columns import Bools, Floats, Ints

TOLERANCE = 1e-7
"""A function is finished where no element of its gradient is larger."""
ROUND = (8, 100)
"""Fewest and most calls after which Hessians are renewed."""
MOST_ROUNDS = 60
KEPT = 10
"""Steps that L-BFGS learns from."""
DESCENT, CURVATURE = 1e-4, 0.9
"""A step must bring this share of the promised descent (Armijo), and leave at most this share of the slope (Wolfe)."""
ROUNDING = 1e-12
"""Relative change of a value that may be rounding alone."""
Value = Callable[[Floats, Ints], tuple[Floats, Floats]]
"""Places [k, d] of the functions with these numbers [k] → their values [k] and gradients [k, d]."""
Hessian = Callable[[Floats, Ints], Sequence[Floats]]
"""Places [k, d] of the groups with these numbers [k] → their Hessians [d, d], which are overwritten."""


def minimum(value: Value, hessian: Hessian, groups: Ints, start: Floats) -> Floats:
    """[m, d] the minima of m functions, searched from `start` [m, d]; functions of one of `groups` [m] are alike.

    The functions are strictly convex. Warns (RuntimeWarning) where a gradient is not within TOLERANCE after
    MOST_ROUNDS renewals.
    """
    at: Floats = start.copy()
    values, gradients = value(at, np.arange(len(at)))
    calls = _worth_a_hessian(len(at), at.shape[1], int(groups.max()) + 1)
    for number in range(MOST_ROUNDS):
        live = np.flatnonzero(_open(gradients))
        if not len(live):
            return at
        names, group = np.unique(groups[live], return_inverse=True)
        factors: list[Any] = [None] * len(names)
        if number or calls < ROUND[0]:
            means = np.stack([at[live[group == index]].mean(0) for index in range(len(names))])
            factors = [cho_factor(matrix, overwrite_a=True, check_finite=False) for matrix in hessian(means, names)]
        search = _Round(live, group, factors, at[live], values[live], gradients[live])
        for _ in range(int(np.clip(calls, *ROUND))):
            search.move(value)
        at[live], values[live], gradients[live] = search.at, search.values, search.gradients
    if _open(gradients).any():
        warnings.warn(f"{_open(gradients).sum()} regressions have not converged", RuntimeWarning, stacklevel=2)
    return at


class _Round:
    """The current places of k functions, and the steps that were made since the Hessians were taken."""

    def __init__(
        self, names: Ints, group: Ints, factors: Sequence[Any], at: Floats, values: Floats, gradients: Floats
    ) -> None:
        self.names, self.group, self.factors = names, group, factors
        self.at, self.values, self.gradients = at, values, gradients
        self.steps: deque[tuple[Floats, Floats, Floats]] = deque(maxlen=KEPT)
        """For each call: moves [k, d], changes of the gradients [k, d], and 1 / their products [k]; all 0 where a
        function stayed."""
        self.size = np.ones(len(at))
        """[k] factor on the inverse Hessian that fits the last step."""
        self.share = np.ones(len(at))
        """[k] share of the heading that is tried next."""
        self.heading = -self._newton(gradients)

    def move(self, value: Value) -> None:
        """Evaluate each unfinished function once: it moves to its next place, or its next try is shorter."""
        live = np.flatnonzero(_open(self.gradients))
        if not len(live):
            return
        move = self.share[live, None] * self.heading[live]
        values, gradients = value(self.at[live] + move, self.names[live])
        before, after = (self.gradients[live] * move).sum(1), (gradients * move).sum(1)
        taken = _taken(self.values[live], values, before, after)
        # The next try is where the slope would be 0 if it changed linearly.
        self.share[live[~taken]] *= np.clip(before / (before - after), 0.02, 0.5)[~taken]
        live, move, gradients = live[taken], move[taken], gradients[taken]
        self._learn(live, move, gradients - self.gradients[live])
        self.at[live] += move
        self.values[live], self.gradients[live] = values[taken], gradients
        self.heading[live], self.share[live] = -self._turned()[live], 1.0

    def _learn(self, live: Ints, move: Floats, change: Floats) -> None:
        moves, changes, inverse = np.zeros(self.at.shape), np.zeros(self.at.shape), np.zeros(len(self.at))
        product = (move * change).sum(1)
        moves[live], changes[live] = move, change
        inverse[live] = np.divide(1, product, out=np.zeros(len(live)), where=product > 0)
        self.steps.append((moves, changes, inverse))
        of_hessian = (changes * self._newton(changes)).sum(1)[live]
        fits = (product > 0) & (of_hessian > 0)
        self.size[live[fits]] = product[fits] / of_hessian[fits]

    def _turned(self) -> Floats:
        """[k, d] the inverse Hessians, corrected by all steps, times the gradients: the two loops of L-BFGS."""
        left, shares = self.gradients.copy(), []
        for moves, changes, inverse in reversed(self.steps):
            shares.append(inverse * (moves * left).sum(1))
            left -= shares[-1][:, None] * changes
        found: Floats = self._newton(left) * self.size[:, None]
        for (moves, changes, inverse), share in zip(self.steps, reversed(shares), strict=True):
            found += (share - inverse * (changes * found).sum(1))[:, None] * moves
        return found

    def _newton(self, vectors: Floats) -> Floats:
        """[k, d] the inverse Hessians times `vectors` [k, d]; the vectors themselves where there is no Hessian."""
        found: Floats = vectors.copy()
        for number, factor in enumerate(self.factors):
            here = self.group == number
            if factor is not None:
                found[here] = cho_solve(factor, vectors[here].T, check_finite=False).T
        return found


def _worth_a_hessian(functions: int, d: int, groups: int) -> int:
    """Return the number of calls that cost as much as the groups' Hessians, from the operations for each sample.

    A Hessian takes d² operations, since it is symmetric. A call takes 4 d for each function, and as long as some 600
    more for its exponential and the like.
    """
    return groups * d**2 // (functions * (4 * d + 600))


def _open(gradients: Floats) -> Bools:
    """[m] whether each function is unfinished."""
    found: Bools = np.abs(gradients).max(1) > TOLERANCE
    return found


def _taken(old: Floats, new: Floats, before: Floats, after: Floats) -> Bools:
    """[k] whether steps descend enough, by values and slopes along them: near a minimum, values differ by rounding."""
    flatter = (np.abs(after) <= CURVATURE * np.abs(before)) & (new <= old + ROUNDING * np.abs(old))
    found: Bools = (new <= old + DESCENT * before) | flatter
    return found
