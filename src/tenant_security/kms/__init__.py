"""The tenants' key management systems: one provider per file, the protocol they share, and how they are called.

May import: ``outbound``, ``wire``, ``crypto``, ``errors``, ``secret``.
"""
