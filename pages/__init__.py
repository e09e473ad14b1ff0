"""Pages to explore a result, or to play with the theory: one file each, which asks no host for anything.

Written by hand, without a library of plots: a map whose cells are reached by keyboard and read aloud, whose state is in
the address, in dark and in print, is what such libraries do not give, and theirs is the larger part of a page (Bokeh
takes 1.2 MB inline, Plotly 4.6 MB). Like figures, pages show datasets and compute nothing with JAX.
"""
