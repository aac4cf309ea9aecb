"""Cells: the losses that a surface stands on, by method, decoder, budget and data at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from toolkit.laws.optimiser import Array, Mask, Rows


@dataclass(frozen=True, eq=False)
class Cells:
    """The loss of each cell with its best settings.

    Attributes:
        methods: Names; `method` (n,) are their numbers.
        decoders: (J,) non-embedding parameters; `decoder` (n,) are their numbers.
        single: (J,) whether a decoder has a single block: such a one obeys no common law.
        log_pairs: (n,) ln of the pairs (or tokens) trained on, repeats counted.
        log_unique: (n,) ln of the distinct ones at hand; infinite where that is not known.
        log_flop: (n,) ln of the budget.
        log_loss: (n,) ln of the mean loss of runs with the best settings.
        runs: (n,) how many runs tell it.
        chance: ln K over K candidates; NaN where the table does not tell K.
        noise: Standard deviation of ln loss between seeds.
        spread: (n,) standard deviations of log_loss; of the mean of so many seeds where it is None.
        named: (2, n) ln loss with the settings that a recipe can name, which are not quite the best
            ones, and its standard deviation; None where they are the same.
    """

    methods: tuple[str, ...]
    method: Rows
    decoders: Array
    decoder: Rows
    single: Mask
    log_pairs: Array
    log_unique: Array
    log_flop: Array
    log_loss: Array
    runs: Array
    chance: float
    noise: float
    spread: Array | None = None
    named: Array | None = None

    @property
    def variance(self) -> Array:
        """(n,) of log_loss, without the misfit of any law."""
        own = self.noise / np.sqrt(self.runs) if self.spread is None else self.spread
        return np.asarray(own**2)

    @property
    def promised(self) -> tuple[Array, Array]:
        """(n,) ln loss of runs with the settings that a recipe can name, and its variance."""
        if self.named is None:
            return self.log_loss, self.variance
        return self.named[0], self.named[1] ** 2

    @property
    def log_params(self) -> Array:
        return np.log(self.decoders)[self.decoder]

    @property
    def repeats(self) -> bool:
        """Whether any run saw its pairs more than once: else nothing tells what that costs."""
        return bool((self.log_pairs > self.log_unique + 0.01).any())

    @property
    def budgets(self) -> Array:
        """Distinct ln budgets, ascending; those within a thousandth are one."""
        every = np.sort(self.log_flop)
        return every[np.append(True, np.diff(every) > 1e-3)]

    def only(self, rows: Mask) -> Cells:
        """Some of the cells, with methods and decoders as they are."""
        columns = ("method", "decoder", "log_pairs", "log_unique", "log_flop", "log_loss", "runs")
        spread = None if self.spread is None else self.spread[rows]
        named = None if self.named is None else self.named[:, rows]
        some = {n: getattr(self, n)[rows] for n in columns}
        return replace(self, spread=spread, named=named, **some)

    def of_methods(self, names: tuple[str, ...]) -> Cells:
        """The cells of some methods, numbered anew."""
        number = {self.methods.index(name): i for i, name in enumerate(names)}
        some = self.only(np.isin(self.method, list(number)))
        return replace(some, methods=names, method=np.array([number[m] for m in some.method], int))
