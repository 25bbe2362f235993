"""Masks from raw recordings: find events, point at the object, track it backwards."""
