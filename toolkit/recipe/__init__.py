"""From a run table to a decision: how large, how much data, which method, which settings."""
