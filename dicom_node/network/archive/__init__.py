"""Archives behind one Protocol."""
