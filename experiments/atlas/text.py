"""The words of the page that do not come from the results."""

INTRODUCTION = """# The atlas

Every acquisition in one experiment: the same initial rows, networks and minibatches for all methods of a seed, 20
seeds, intervals everywhere. Written by `python -m experiments.atlas --page docs/atlas.md` from the curves under
`experiments/results/atlas/`.

| | |
|---|---|
| network | an MLP of two hidden layers of 128 |
| training | Adam, 100 steps a round on 32 rows, from fresh parameters |
| learning rate, dropout | tuned on labels of random rows, the same for all methods: see below |
| digits | 1 297 images of 8 x 8 pixels |
| digits, changed | three times with noise; five classes at a tenth (long tail); 20 % wrong labels (noisy) |
| MNIST, Fashion-MNIST, CIFAR-10, CMATERdb | vectors by SimCLR, 1 000 steps without labels; 2 000 test rows |
| trec | latent semantics of 5 235 questions: TF-IDF and 128 singular vectors; without those of the test set |
| concrete, kin8nm | UCI regressions, 10 columns at most; ten labels where others have one a class |
| offered each round | all rows of digits; of the others 1 000 random ones |
| low budget | from 1 label a class to 10, one a class acquired each round |
| middle budget | from 2 labels a class to 22, one a class each round |
| large batches | from 2 labels a class to 22, four a class each round |

Learning rate and dropout rate are the ones, of 4 times 3, with the lowest NLL on random rows: 10 labels a class train,
10 others validate, 4 draws of rows and 4 seeds. No acquisition and no test row has a part in it.

Features are those of the network as each round trains it. The papers of TypiClust, ProbCover and MaxHerding use
self-supervised features. Differences are percentage points of the area under the learning curve (AUBC), paired by seed.
IQM is the interquartile mean over seeds and data sets, its interval the stratified bootstrap over both (Agarwal et al.
2021); with one data set over seeds alone. Ranks are 1 for the best. "Sets won, lost" counts data sets on which a paired
t-test says so. Of a regression
the tables have -log RMSE for the accuracy: a point is 1 % of RMSE. Seconds are of several machines and loads.
"""

SHORT = """## In short

What the paired intervals of 20 seeds allow to say, under MC dropout and under an ensemble: on digits at low and middle
budgets, on trec and concrete at a low one. Large batches and the other data sets are not complete.

1. With 1 to 10 labels a class cover the pool. `typiclust` and `u_herding(entropy)` gain on both sets under both
   posteriors: on digits +5.4 [4.5, 6.3] and +7.2 [6.2, 8.2] points under MC dropout, on trec +8.9 [6.6, 11.2] and +6.6
   [3.5, 9.7]. `margin` is behind the better of the two by 2.9 [0.4, 5.3] to 6.7 [3.9, 9.5].
2. At a middle budget take `u_herding(entropy)` or `weighted_k_means`. They beat `margin` by +0.6 [0.3, 0.8] to +1.0
   [0.7, 1.4], under both posteriors.
3. Of the plain scores take `margin`, or its equal `mclu`. On digits `entropy` is behind it by 3.1 [1.6, 4.6] and 3.6
   [2.6, 4.5] at a low budget, 1.1 [0.7, 1.5] and 1.0 [0.7, 1.3] at a middle one. On trec that depends on the posterior.
   BALD loses to random on digits at a low budget under MC dropout, by 1.2 [0.3, 2.1].
4. Tune the network before you judge a method. With a dropout rate of 0.5, where a validation set asks for 0.1, `egl`,
   `gradient_norm`, `epig` and `core_mse` lost to random at a middle budget under MC dropout; now none of them does.
5. Do not look at the pool alone. `k_means` and `k_medoids` pick much the same centres every round, `graph_density`
   the densest class: they lose to random at a middle budget on digits.
6. In regressions with batches take a kernel method: on concrete `kernel_bait` and `lcmd('features')` gain 8.6 [5.9,
   11.0] and 6.9 [3.9, 9.5] points of log RMSE at a low budget, as Holzmueller et al. 2023 find on 15 tables. The ten
   rows of the largest variance, `bald`, lose 9.7 [6.3, 14.1].

Where this differs from the papers: Ash et al. 2020 find BADGE as good as margin or better; on digits at a middle budget
it is behind by 0.9 [0.5, 1.2] and 0.8 [0.4, 1.1]. Bickford Smith et al. 2023 find EPIG better than BALD; here it is
behind by 1.0 [0.4, 1.5] and 0.5 [0.2, 0.8], on a pool in which every row matters to the targets. Yehuda et al. 2022
find ProbCover better than TypiClust at low budgets, on self-supervised features; on a network's own features it is
behind by 5.9 [5.3, 6.4] and 6.1 [5.3, 7.0] on digits, 3.5 [1.2, 5.7] and 1.1 [-0.7, 3.0] on trec. Hacohen et al. 2022
find typical rows best at low budgets and uncertain ones later: so do we.
"""
