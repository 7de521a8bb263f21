"""What a tenant writes down to have its security events sent to a system of its own, one file per kind of sink.

Strict where humans type: unknown members are refused, every member is explained.

May import: ``errors``, ``secret``, other parts of ``wire``.
"""
