"""Frames to clips: decoding, the cursor, scaling, encoding."""
