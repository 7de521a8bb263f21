"""Google Cloud KMS: the key, who we are to Google, where Google lives, and what its refusals mean."""
