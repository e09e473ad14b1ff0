"""Chunks of sweeps computed by the workers of a Dask cluster: of this machine, or wherever a scheduler gathers them.

Workers hand their chunks back and write nothing: the client is the one writer of a result, on its own disk. Every
worker goes on with one block, so that it pre-trains few of them. What a worker was at when it died is computed again.
"""

from linsim.sweeping.cluster.starting import hands as hands
