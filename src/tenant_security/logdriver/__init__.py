"""THE TENANT SECURITY LOGDRIVER: fetches events from proxies, keeps them on disk, delivers them to tenants' sinks.

May import ``sinks``, ``directory``, ``service``, ``outbound``, ``spool``, ``wire`` and what lies below; never ``kms``,
nor another program.
"""
