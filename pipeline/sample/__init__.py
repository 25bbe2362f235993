"""A little blocky game, played by a script and recorded exactly as the contractors' sessions were."""
