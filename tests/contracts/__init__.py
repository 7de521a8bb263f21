"""What any HTTP client may rely on."""
