"""Side by side with the peers: scripts that measure, and their dated results."""
