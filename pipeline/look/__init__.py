"""Everything that looks at a dataset: its facts, its frames, the plan of its lanes, its faults, its report."""
