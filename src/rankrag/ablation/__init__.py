"""What each part of the recipe brings: rows that leave it out, trained and tested alike."""
