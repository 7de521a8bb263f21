"""The Configuration Broker: keeps what tenants and vendors sign and seal, hands it to proxies, and can read none of it.

May import: ``service``, ``trust``, ``wire``, ``crypto`` but for its opening half, ``errors``, ``secret``. It reaches
nothing that can open a sealed config: a contract in pyproject.toml holds that.
"""
