"""What goes wrong around the product, and that it holds."""
