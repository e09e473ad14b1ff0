"""Pages to explore a result, or to play with the theory: one file each, which asks no host for anything.

Written by hand, without a library of plots: a map whose cells are reached by keyboard and read aloud, whose state is in
the address, in dark and in print, would be ours to write beside any of them, and theirs would be the larger part of a
page: those of Bokeh, Altair and Plotly begin at 1.5, 1.7 and 5 MB. Like figures, pages show datasets and compute
nothing with JAX.
"""
