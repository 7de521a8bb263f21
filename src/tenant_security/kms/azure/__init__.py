"""Azure Key Vault and Managed HSM: the key, its blobs, the clouds, how we sign in, and what Azure's refusals mean."""
