"""What each part of the recipe contributes: models that each lack or change one part, on the same questions."""
