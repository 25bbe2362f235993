"""rocket-train: windows in, a ROCKET-1 policy out."""
