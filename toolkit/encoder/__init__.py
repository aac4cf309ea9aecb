"""A trained run as an encoder: loaded, used, exported."""
