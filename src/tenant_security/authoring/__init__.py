"""THE MAKING SIDE: a vendor's keys, and the signed and sealed documents that proxies believe.

``vendor`` holds the keys and what is the same for all tenants; ``roster`` holds the tenants and their configs;
``documents`` signs and seals one thing at a time; ``snapshot_writer`` and ``keyfiles`` write files;
``description`` reads the tenants from a file that people write.

May import: ``outbound``, ``wire``, ``crypto``, ``errors``, ``secret``. Never what is meant to be blind imports it.
"""
