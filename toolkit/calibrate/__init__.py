"""Which few cheap runs to make, so as to know what to do with a budget."""
