"""A training step: module, objectives, metrics, and what stops a run."""
