"""The comparisons: what is predicted, on which users, by which methods, with which measures."""
