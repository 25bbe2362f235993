"""A run's files to go on from: whole checkpoints, weights, conversion from and to MineStudio."""
