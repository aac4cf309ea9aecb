"""One run, from its configuration to its record, and the encoder that it leaves."""
