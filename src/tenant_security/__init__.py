"""Encrypt each customer's data with keys that the customer holds.

The packages, from the ground up: ``errors`` and ``secret``; ``wire`` (what we say) and ``crypto`` (what we do to
bytes); ``outbound`` (the only way out); ``kms``, ``directory``, ``authoring`` and ``service``; the daemons
(``proxy``); ``cli`` and ``testing``. Imports go only downwards; ARCHITECTURE.md shows the house.
"""

__version__ = "0.1.0"
