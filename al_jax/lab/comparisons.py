"""What `lab.compare` found in a sweep: a comparison for each setting, and whether the answer depends on it."""

import dataclasses

import pandas as pd

from al_jax import results
from al_jax.lab.comparison import Comparison
from al_jax.lab.show import table_html, table_text
from al_jax.sweep import nearest


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparisons:
    """A `Comparison` for each setting of a sweep; shown as one table."""

    settings: tuple[Comparison, ...]

    def at(self, **values: float) -> Comparison:
        """The comparison of one setting: `at(learning_rate=1e-3)`. ValueError when there is none."""
        return self.settings[nearest([found.values for found in self.settings], values)]

    @property
    def rounds(self) -> pd.DataFrame:
        """The rounds of all settings, with a column for each swept number."""
        return pd.concat([found.rounds for found in self.settings], ignore_index=True)

    @property
    def summary(self) -> pd.DataFrame:
        """`Comparison.summary` of all settings, with a column for each swept number.

        Differences are to the baseline with the same setting, over paired seeds.
        """
        return pd.concat([found.summary.assign(**found.values) for found in self.settings], ignore_index=True)

    def __repr__(self) -> str:
        return table_text(*self._table())

    __str__ = __repr__

    def _repr_html_(self) -> str:
        table, _, note = self._table()
        return table_html(table, note)

    def _table(self) -> tuple[pd.DataFrame, None, str]:
        tables = []
        for found in self.settings:
            table, note = results.formatted(found.summary)
            for place, (name, value) in enumerate(found.values.items()):
                table.insert(place, name, f"{value:g}")
            tables.append(table)
        return pd.concat(tables, ignore_index=True), None, note
