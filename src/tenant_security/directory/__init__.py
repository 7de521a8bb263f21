"""WHO THE TENANTS ARE NOW: an immutable directory, the rules a snapshot must pass, and what refreshes it.

``tenants`` is what the proxy reads; ``chain`` and ``verify`` are the rules, without I/O and without a clock;
``snapshot_file`` and ``refresher`` do the I/O.

May import: ``outbound``, ``wire``, ``crypto``, ``errors``, ``secret``.
"""
