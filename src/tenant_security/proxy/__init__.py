"""The Tenant Security Proxy: the gateway between the vendor's application and the tenants' KMSs.

``app`` puts it together; ``api`` speaks HTTP, ``operations`` does what each endpoint promises and records it,
``keys`` wraps and unwraps, ``leasing`` keeps leased keys, ``tenant_secrets`` derives, ``outbox`` holds events.

May import everything below the daemons: ``kms``, ``directory``, ``service``, ``outbound``, ``wire``, ``crypto``.
"""
