"""Playing: a policy in an environment, its memory carried frame by frame, and what that shows."""
