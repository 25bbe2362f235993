"""The schedule: episodes to lanes to windows, for one dataset or several. Pure: no rank, no worker, no clock."""
