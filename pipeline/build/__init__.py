"""The crash-proof job: plan, groups, parts, engines, joining, repair."""
