"""Run settings that `rocket-train` finds by name."""
