"""Setting a contract's values after training, on held-out training questions."""
