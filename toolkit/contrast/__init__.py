"""The exact cached-gradient contrastive step, on real tokens only."""
