"""Files from other people, read without trust: JSON lines, pickles, LMDB environments."""
