"""Files that a trained classifier is shipped in."""
