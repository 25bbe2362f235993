"""What a user can get wrong about the policy."""

from shards.errors import RocketError


class PolicyError(RocketError):
    """The policy cannot be built, loaded or fed as asked; the message says what to change."""
