"""Text pairs: where they come from, and how they are tokenised."""
