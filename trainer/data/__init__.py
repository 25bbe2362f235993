"""Windows from shards to the training step. No imports here: loader processes do without torch."""
