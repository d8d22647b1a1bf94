"""Files of masks: how they are read, which image each belongs to, and what their values say."""
