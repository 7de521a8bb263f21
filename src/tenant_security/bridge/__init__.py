"""The vendor bridge: the vendor's automation API. It seals and signs on the vendor's side and keeps nothing.

May import: ``directory``, ``authoring``, ``service``, ``outbound``, ``trust``, ``wire``, ``crypto`` and below.
"""
