"""MineStudio's ROCKET-1 policy, to the digit, with a faster way through it."""

from trainer.policy.rocket import RocketPolicy

__all__ = ["RocketPolicy"]
