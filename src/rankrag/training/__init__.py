"""From a blend to an adapter: `rows` lays examples out as token rows, `run` trains on them."""
