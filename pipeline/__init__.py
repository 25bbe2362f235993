"""rocket-prep: contractor recordings in, ordered WebDataset shards out."""
