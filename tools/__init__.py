"""What keeps the repository's generated files fresh. Not part of the product."""
