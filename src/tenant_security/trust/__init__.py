"""Who may say what: the rules from a pinned fingerprint down to one tenant's record, without opening anything.

Those who keep documents check them by these rules, and so do those who use them. No I/O, no clock, no secret.

May import: ``wire``, ``crypto.signing``, ``errors``.
"""
