"""Measured programs: each runs as a process of its own, in our environment or the peers', and answers in JSON."""
