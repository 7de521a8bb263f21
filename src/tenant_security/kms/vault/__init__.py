"""HashiCorp Vault and OpenBao: the Transit key, how we sign in, and what their refusals mean."""
