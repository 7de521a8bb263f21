"""Thales CipherTrust Manager: the key, its blobs, how we sign in, and what CipherTrust Manager's refusals mean."""
