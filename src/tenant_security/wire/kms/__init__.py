"""What a tenant writes down to let us use a key of its KMS: one file per provider, put together in ``kms_configs``."""
