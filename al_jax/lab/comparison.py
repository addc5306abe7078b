"""What `lab.compare` found: plain tables, a picture, and words."""

import dataclasses
import html
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from al_jax import plots, results
from al_jax.lab import statistics
from al_jax.lab.recorded import Ready, Recorded
from al_jax.lab.show import figure_html, fixed, table_html, table_text
from al_jax.sweep import UNSWEPT, text
from al_jax.types import Acquisition

AGAINST = ("random", "bald")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Methods and baselines over paired seeds: shown in a notebook as tables and curves, printed as text elsewhere.

    Attributes, all plain tables:
      rounds: a row for each method, seed and round, with accuracy, NLL, Brier score, ECE, seconds (see `Campaign`).
      acquired: every acquired row with method, seed, round, pick, score and label.
      summary: a row for each method: labels to 90 and 95 %, AUBC, final accuracy, differences to random (see
        `results.summary`).
      verdicts: does it win, lose, or can't we tell; against random and BALD (see `statistics.verdicts`).
      differences: the paired difference of accuracy to random and to BALD at every budget, with intervals that hold at
        all budgets at once (see `statistics.differences`).
      penalties: the share of budgets at which the row's method beats the column's (see `statistics.penalties`).
      costs: seconds a round (all seeds together), in total and of compilation; `stored` ones were measured when they
        ran.
      stopped: why seeds were stopped, by (method, seed).
    """

    task: Ready
    methods: Mapping[str, Acquisition]
    runs: Mapping[str, Recorded]
    new: list[str]
    """Names of the methods that were compared with the baselines."""
    rounds: pd.DataFrame
    acquired: pd.DataFrame
    summary: pd.DataFrame
    verdicts: pd.DataFrame
    differences: pd.DataFrame
    penalties: pd.DataFrame
    costs: pd.DataFrame
    stopped: dict[tuple[str, int], str]
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The swept numbers that it ran with."""

    def figure(self) -> Figure:
        """Learning curves, and the differences to random and to BALD with intervals that hold everywhere at once.

        For a slide; `plots.column(comparison.rounds)` draws curves for one column of a paper.
        """
        return plots.comparison(self.rounds, self.differences, self.title, self.new or None)

    def to_latex(self, caption: str | None = None, label: str | None = None) -> str:
        """The table of `summary` for a paper, as `results.to_latex` writes it."""
        return results.to_latex(self.summary, caption, label)

    @property
    def title(self) -> str:
        """The task, its seeds and its budget."""
        s = self.task.settings
        setting = f", {text(self.values)}" if self.values else ""
        return (
            f"{self.task.name}: {s.seeds} seeds, {s.initial_labels} to {s.max_labels} labels by {s.batch_size}{setting}"
        )

    def __repr__(self) -> str:
        parts = [self._verdict(), *(table_text(*part) for part in self._tables())]
        return "\n\n".join([self.title, *filter(None, parts)])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        said = "<br>".join(html.escape(line, quote=False) for line in self._verdict().splitlines())
        table, costs, penalties = (table_html(part, note) for part, _, note in self._tables())
        more = f"<details><summary>Who beats whom, and costs</summary>{penalties}{costs}</details>"
        return f"<h4>{html.escape(self.title)}</h4><p>{said}</p>{table}{figure_html(self.figure())}{more}"

    def _verdict(self) -> str:
        stopped = [f"{method}, seed {seed} was stopped: {why}" for (method, seed), why in self.stopped.items()]
        return "\n".join([*self.verdicts["sentence"], *stopped])

    def _tables(self) -> list[tuple[pd.DataFrame, str | None, str]]:
        table, note = results.formatted(self.summary)
        compared = f", corrected for {len(self.verdicts)} comparisons" if len(self.verdicts) > 1 else ""
        note += f"\nAUBC: area under the curve of accuracy over labels. Sentences: 95 % intervals{compared}."
        costs = fixed(self.costs, {"seconds_a_round": 2, "seconds": 1, "compile_seconds": 1})
        costs.columns = ["method", "seconds\na round", "seconds\nin total", "seconds to\ncompile", "stored"]
        beats = fixed(self.penalties, dict.fromkeys(self.penalties, 2)).rename_axis(index="beats").reset_index()
        share = "Share of the budgets at which the row's method beats the column's (paired t-test, 95 %)."
        return [(table, None, note), (costs, None, "All seeds together, on this machine."), (beats, None, share)]


def compared(
    task: Ready,
    methods: Mapping[str, Acquisition],
    runs: Mapping[str, Recorded],
    new: list[str],
    values: Mapping[str, float] = UNSWEPT,
) -> Comparison:
    """Make the tables of `runs`, the baselines' and the `new` methods', of one setting of a sweep."""
    campaigns = {name: run.campaign for name, run in runs.items()}
    rounds = pd.concat([c.rounds for c in campaigns.values()], ignore_index=True)
    costs = pd.DataFrame(
        {
            "method": name,
            "seconds_a_round": (seconds := c.rounds.drop_duplicates("round")["seconds"]).mean(),
            "seconds": seconds.sum(),
            "compile_seconds": c.compile_seconds,
            "stored": runs[name].stored,
        }
        for name, c in campaigns.items()
    )
    return Comparison(
        task,
        methods,
        runs,
        new,
        rounds,
        pd.concat([c.acquired for c in campaigns.values()], ignore_index=True),
        results.summary(rounds),
        statistics.verdicts(rounds, new, AGAINST),
        statistics.differences(rounds, AGAINST),
        statistics.penalties(rounds),
        costs,
        {(name, seed): why for name, c in campaigns.items() for seed, why in c.stopped.items()},
        values,
    )
