"""What batch methods are made of: how a row is represented, how rows are compared, how a batch is chosen.

representations: what `summarise` keeps of a row. similarities: inner products, distances and kernels of rows. The other
files are selectors, greedy ones built on `greedy.pick_one_by_one`. None ever holds an array of N x N or N x C D.
"""
