"""Recordings to episodes: which are joined, by our rules or by MineStudio's. Pure: no file is opened."""
