"""All steps of a lane in the caches and registers of one core: what dense matrices and chains do on a CPU."""
