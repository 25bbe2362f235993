"""`make gpu-check`: what a GPU computes is what it should be, and how fast; one table and a dated page."""
