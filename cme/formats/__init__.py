"""Model files and text, to `Network` and back."""
