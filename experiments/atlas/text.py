"""The words of the page that do not come from the results."""

INTRODUCTION = """# The atlas

Every acquisition in one experiment: the same initial rows, networks and minibatches for all methods of a seed, 20
seeds, intervals everywhere. Written by `python -m experiments.atlas --page docs/atlas.md` from the curves under
`experiments/results/atlas/`.

| | |
|---|---|
| network | an MLP of two hidden layers of 128, dropout 0.5 |
| training | Adam, learning rate 0.001, 300 steps a round from fresh parameters; the same everywhere, not tuned |
| digits | 1 297 images of 8 x 8 pixels |
| digits, changed | three times with noise; five classes at a tenth (long tail); 20 % wrong labels (noisy) |
| MNIST, Fashion-MNIST, CIFAR-10, CMATERdb | 128 components of a layer that learned rotations; 10 000 rows at most |
| trec | latent semantics of 5 452 questions: TF-IDF and 128 singular vectors |
| offered each round | all rows of digits; of the others 1 000 random ones |
| low budget | from 1 label a class to 10, one a class acquired each round |
| middle budget | from 2 labels a class to 22, one a class each round |
| large batches | from 2 labels a class to 22, four a class each round |

Features are those of the network as each round trains it. The papers of TypiClust, ProbCover and MaxHerding use
self-supervised features. Differences are percentage points of the area under the learning curve (AUBC), paired by seed.
IQM is the interquartile mean over seeds and data sets, its interval the stratified bootstrap over both (Agarwal et al.
2021); with one data set over seeds alone. Ranks are 1 for the best. "Sets won, lost" counts data sets on which a paired
t-test says so. Seconds are of several machines and loads.
"""

LOSERS = """## What loses to random on digits, and why

- **The best rows by one score, in large batches.** The 40 most uncertain rows resemble each other. In batches of 10 the
  same scores win. `stochastic_top_k`, `prefilter(score, m, ...)` and the methods that spread a batch mend this.
- **`egl`, `gradient_norm`, `epig`, `eer`, `core_mse` under MC dropout.** Under the ensemble all of them win at b = 10.
  At a dropout rate of 0.5 the mean prediction is far from certain on most rows. The gradient of the entropy is 0 where
  the prediction is uniform, so `gradient_norm` avoids the most uncertain rows. `egl` multiplies by the length of the
  features, which is short where the entropy is high (rank correlation -0.5): its picks are at the 85th percentile of
  entropy. 500 posterior samples instead of 50 change nothing for `epig` (+0.6), `eer` (-0.8) and `core_mse` (-0.2).
- **`k_means` and `k_medoids` at b = 10.** They look at the pool alone. It hardly changes, so that ten centres are much
  the same in every round. With 40 centres they win.
- **`graph_density`.** One bandwidth holds for all classes, so the tightest ones are the densest: of 200 picks 78 to 110
  are zeros. Its paper (Ebert et al. 2012) uses it as one of several criteria, beside uncertainty.
"""

SHORT = """## In short, on digits

What the paired intervals of 20 seeds allow to say, over six settings: MC dropout and an ensemble, each at a low, a
middle and a large budget. Other data sets are being added, and may say otherwise.

1. `u_herding(entropy)` and `weighted_k_means` are the safe choices. Both beat `margin` in all six, by between
   +0.6 [0.3, 0.8] and +3.6 [2.8, 4.4] points.
2. With a few labels a class, cover the pool. `u_herding`, `max_herding` and `typiclust` gain 6 to 8 points on random.
   There `entropy`, `epig` and `eer` lose to it under MC dropout, and gain nothing under the ensemble.
3. Of the plain scores take `margin`. It beats `entropy` in all six, by between 1.1 [0.7, 1.6] and 6.5 [4.7, 8.3]
   points, at the same cost. `mclu` is its equal.
4. Do not fill a large batch with the best rows by one score. Under MC dropout 40 rows a round by `bald` lose to random
   by 1.9 [1.1, 2.8]; `batchbald` gains 3.8 [3.2, 4.4] on them.
5. Choose the posterior first. At a middle budget all methods but three beat random under the ensemble, and all but nine
   under MC dropout at rate 0.5.

Where this differs from the papers, and where not:

- Ash et al. 2020 find BADGE as good as margin or better. Here it is behind `margin` in batches of 10
  (-1.8 [-2.3, -1.4] under MC dropout, -0.8 [-1.1, -0.5] under the ensemble), and level with it in batches of 40.
- Bickford Smith et al. 2023 find EPIG better than BALD. Here it is worse under MC dropout (-0.8 [-1.2, -0.4] at a
  middle budget) and level under the ensemble. Their pools hold rows that do not matter to the targets; here are none.
- Hacohen et al. 2022 say: typical rows for low budgets, uncertain ones for high budgets. That holds here. `typiclust`
  gains 6.1 [5.1, 7.1] at the low budget under MC dropout, where `entropy` loses 2.2 [0.1, 4.3]; at the middle one it is
  behind `margin` by 1.0 [0.6, 1.3].
"""
