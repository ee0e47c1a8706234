"""Every metric, one page per kind of answer: ranked lists, distributions, scores, classes.

Letters: n rows (users, or user-windows), r resamples, k places of a list, c categories or classes.
Ranking and distribution metrics give one value per row. The others are statistics of all rows at once; they take weights
(r, n), such as bootstrap counts, and give one value per resample: `ones((1, n))` gives the plain value.
"""
