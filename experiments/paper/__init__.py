"""The numbers that the paper prints, with our figures beside them."""
