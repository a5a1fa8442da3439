"""From public data to the training blend: one file a kind of data (paper, section 4.2), joined in `mixture`."""
