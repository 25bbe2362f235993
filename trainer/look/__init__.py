"""What looks at runs: evaluation, comparison, the run's page."""
