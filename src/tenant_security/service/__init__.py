"""What every daemon shares: settings, the HTTP edge, API-key check, logs and metrics, health, and how to run and stop.

May import: ``outbound``, ``wire``, ``crypto``, ``errors``, ``secret``.
"""
