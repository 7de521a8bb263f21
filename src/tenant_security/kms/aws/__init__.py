"""AWS KMS: the key, where AWS lives, how it is asked for temporary keys, and what its refusals mean."""
